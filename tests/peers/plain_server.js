// A plain server. Intentional quirks: unfinished frames are kept per remote address and port, with the defect of the
// client (never cleared, not even when the socket closes); an error on a socket causes two onClose calls (error, then
// close); a failed listen is only reported, and the node registers nevertheless. It listens on all addresses, IPv6
// included, so IPv4 peers appear as ::ffff:a.b.c.d.
// Subclasses override onRead and, optionally, the other on... methods.
'use strict';

const net = require('net');
const { MARK, cut, linkToDistributor, registrationOf } = require('./plain_client');

class PlainServer {
    constructor(name, port, urls) {
        this.context = { port, name, urls };
        this.kept = {};
        this.server = net.createServer((socket) => {
            this.peer(socket); // Node.js keeps an address only if it was read while the socket was open
            this.onCreate(socket);
            socket.on('error', () => this.onClose(socket));
            socket.on('close', () => this.onClose(socket));
            socket.on('data', (bytes) => {
                const peer = this.peer(socket);
                this.kept[peer] = cut(this.kept[peer], bytes.toString(), (packet) => this.onRead(socket, packet));
            });
        });
        this.server.on('error', (error) => this.report('listen_error', { code: error.code }));
        this.server.listen(port, () => this.onListening(this.server.address().port));
    }

    peer(socket) {
        return socket.remoteAddress + ':' + socket.remotePort;
    }

    write(socket, packet) {
        socket.write(JSON.stringify(packet) + MARK);
    }

    connectToDistributor(host, port, onNotification) {
        this.distributor = linkToDistributor(host, port, registrationOf(this.context), onNotification,
            (what, fields) => this.report(what, fields));
    }

    onListening() {}
    onCreate() {}
    onClose() {}
    report() {}
}

module.exports = PlainServer;
