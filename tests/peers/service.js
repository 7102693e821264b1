// A plain service: a server that registers, and answers with an echo. Intentional quirk: a request that is null, or has
// neither key nor params, ends it.
//   node service.js --name goods --port 0 --urls POST/goods,GET/goods --distributor 127.0.0.1:9000 [--verbose]
// With --port 0 it listens first and registers the port that it got (3 s later).
'use strict';

const args = require('./args');
const PlainServer = require('./plain_server');

const DEFAULTS = { name: 'goods', port: '9010', urls: 'POST/goods,GET/goods', distributor: '127.0.0.1:9000', verbose: false };

class Service extends PlainServer {
    constructor(options, extra) {
        super(options.name, Number(options.port), args.list(options.urls));
        this.options = options;
        this.extra = extra || {}; // more fields for every event line
        if (this.context.port !== 0) this.join();
    }

    join() {
        const { host, port } = args.hostPort(this.options.distributor);
        this.connectToDistributor(host, port, (packet) => args.packetEvent(packet));
    }

    onListening(port) {
        this.report('listening', { name: this.context.name, port });
        if (this.context.port === 0) {
            this.context.port = port;
            this.join();
        }
    }

    onRead(socket, request) {
        const key = request.key !== undefined ? request.key : request.params.key;
        if (this.options.verbose) this.report('request', { method: request.method, uri: request.uri, key });
        this.write(socket, { errorcode: 0, errormessage: 'success', key, results: request.params });
    }

    report(what, fields) {
        args.event(what, Object.assign({}, fields, this.extra));
    }
}

module.exports = { Service, DEFAULTS };

if (require.main === module) {
    const options = args.parse(DEFAULTS);
    args.exitWithStdin();
    new Service(options, { pid: process.pid });
}
