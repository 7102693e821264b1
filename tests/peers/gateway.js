// A plain gateway: HTTP in, packets to services out. Intentional quirks:
//  - nodes are known by host:port, so several entries with the same host and port get one client and one set of
//    routes; a departure from the list has no effect, only the end of its own client has;
//  - the end of a client (also a refused connection) removes the whole route of each url of its node, including the
//    shares of siblings; these stay known, so no list restores their routes until their own connection has ended;
//  - a null entry, or one without a usable port, throws and ends the gateway, unless its name is "gate";
//  - the counter is raised before it is used: the first request for a url goes to the second of two nodes;
//  - requests carry params.key only, which overwrites a "key" parameter of the caller;
//  - a reply with an unknown key ends it; a request whose node dies is never answered; a bad JSON body ends it;
//  - every reply is HTTP 200 with the whole packet, whatever its errorcode.
//   node gateway.js --port 0 --distributor 127.0.0.1:9000 [--verbose]
'use strict';

const http = require('http');
const querystring = require('querystring');
const url = require('url');
const args = require('./args');
const PlainClient = require('./plain_client');

const options = args.parse({ port: '8000', distributor: '127.0.0.1:9000', verbose: false });
args.exitWithStdin();

const nodes = {}; // host:port -> {client, info}
const routes = {}; // METHOD/path -> [client, ...]
const turns = {}; // METHOD/path -> number of requests so far
const waiting = {}; // key -> HTTP response
let nextKey = 0;

function onList(packet) {
    args.packetEvent(packet);
    for (const i in packet.params) {
        const info = packet.params[i];
        const id = `${info.host}:${info.port}`;
        if (nodes[id] || info.name == 'gate') continue;
        const client = new PlainClient(info.host, info.port, onNodeUp, onReply, onNodeEnd, onNodeError);
        nodes[id] = { client, info };
        for (const u in info.urls) {
            const route = info.urls[u];
            (routes[route] = routes[route] || []).push(client);
            args.event('route_added', { url: route, host: info.host, port: info.port, clients: routes[route].length });
        }
        client.connect();
    }
}

function onNodeUp({ host, port }) {
    args.event('node_connected', { host, port });
}

function onNodeError({ host, port }, error) {
    args.event('node_error', { host, port, code: error.code });
}

function onNodeEnd({ host, port }) {
    const id = `${host}:${port}`;
    const urls = nodes[id].info.urls;
    args.event('node_disconnected', { host, port });
    for (const u in urls) {
        if (routes[urls[u]]) args.event('route_removed', { url: urls[u], host, port, clients: routes[urls[u]].length });
        delete routes[urls[u]];
    }
    delete nodes[id];
}

function onReply(target, packet) {
    if (options.verbose) args.event('reply', { key: packet.key, port: target.port });
    const response = waiting[packet.key];
    response.writeHead(200, { 'Content-Type': 'application/json' });
    response.end(JSON.stringify(packet));
    delete waiting[packet.key];
}

function forward(response, method, uri, params) {
    const route = method + uri;
    const clients = routes[route];
    if (!clients) {
        response.writeHead(404);
        response.end();
        return;
    }
    params.key = nextKey;
    waiting[nextKey] = response;
    nextKey += 1;
    turns[route] = (turns[route] || 0) + 1;
    const client = clients[turns[route] % clients.length];
    if (options.verbose) args.event('request', { url: route, key: params.key, port: client.target.port });
    client.write({ uri, method, params });
}

const server = http.createServer((request, response) => {
    const { method } = request;
    const { pathname, query } = url.parse(request.url, true);
    if (method !== 'POST' && method !== 'PUT') {
        forward(response, method, pathname, query);
        return;
    }
    let body = '';
    request.on('data', (bytes) => { body += bytes; });
    request.on('end', () => {
        const isJson = request.headers['content-type'] == 'application/json'; // exactly this: no charset
        forward(response, method, pathname, isJson ? JSON.parse(body) : querystring.parse(body));
    });
});

server.listen(Number(options.port), () => {
    const { port } = server.address();
    const { host, port: distributorPort } = args.hostPort(options.distributor);
    args.event('listening', { name: 'gate', port, pid: process.pid });
    PlainClient.linkToDistributor(host, distributorPort,
        PlainClient.registrationOf({ port, name: 'gate', urls: [] }), onList, args.event);
});
