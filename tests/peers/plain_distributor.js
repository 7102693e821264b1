// A plain Distributor. Intentional quirks: a new connection makes it push the list to all REGISTERED connections
// (the new one receives nothing until it registers); hosts are as Node.js reports them, ::ffff:127.0.0.1 for IPv4;
// a reset causes two pushes (error, then close); only POST /distributes is answered; entries are not checked;
// null, or a POST without an object as params, ends it; frame ends inside strings are not escaped.
//   node plain_distributor.js --port 9000
'use strict';

const args = require('./args');
const PlainServer = require('./plain_server');

const options = args.parse({ port: '9000' });
const registered = {}; // remoteAddress:remotePort -> {socket, info}

class PlainDistributor extends PlainServer {
    onListening(port) {
        this.report('listening', { name: 'distributor', port, pid: process.pid });
    }

    onCreate(socket) {
        this.report('peer_connected', { peer: this.peer(socket) });
        this.push();
    }

    onClose(socket) {
        const peer = this.peer(socket);
        delete registered[peer];
        this.report('peer_closed', { peer, registered: Object.keys(registered).length });
        this.push();
    }

    onRead(socket, packet) {
        if (packet.uri != '/distributes' || packet.method != 'POST') return;
        const peer = this.peer(socket);
        registered[peer] = { socket, info: packet.params };
        packet.params.host = socket.remoteAddress;
        const { name, host, port } = packet.params;
        this.report('registered', { peer, name, host, port, registered: Object.keys(registered).length });
        this.push();
    }

    push() {
        const all = Object.values(registered);
        const packet = { uri: '/distributes', method: 'GET', key: 0, params: all.map((entry) => entry.info) };
        all.forEach((entry) => this.write(entry.socket, packet));
    }

    report(what, fields) {
        args.event(what, fields);
    }
}

args.exitWithStdin();
new PlainDistributor('distributor', Number(options.port), ['POST/distributes', 'GET/distributes']);
