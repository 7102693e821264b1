// Imitates the chapter's Distributor. Intentional quirks: a new connection makes it push the list to all REGISTERED
// connections (so the newcomer itself hears nothing until it registers); hosts are what Node says, ::ffff:127.0.0.1 for
// IPv4; an RST means two pushes (error, then close); GET and everything but POST /distributes are not answered; entries
// are not checked; null, or a POST without an object as params, kills it; nothing escapes the mark inside strings.
//   node book_distributor.js --port 9000
'use strict';

const args = require('./args');
const BookServer = require('./book_server');

const options = args.parse({ port: '9000' });
const registered = {}; // remoteAddress:remotePort -> {socket, info}

class BookDistributor extends BookServer {
    onListening(port) {
        this.tell('listening', { name: 'distributor', port, pid: process.pid });
    }

    onCreate(socket) {
        this.tell('peer_connected', { peer: this.peer(socket) });
        this.push();
    }

    onClose(socket) {
        const peer = this.peer(socket);
        delete registered[peer];
        this.tell('peer_closed', { peer, registered: Object.keys(registered).length });
        this.push();
    }

    onRead(socket, packet) {
        if (packet.uri != '/distributes' || packet.method != 'POST') return;
        const peer = this.peer(socket);
        registered[peer] = { socket, info: packet.params };
        packet.params.host = socket.remoteAddress;
        const { name, host, port } = packet.params;
        this.tell('registered', { peer, name, host, port, registered: Object.keys(registered).length });
        this.push();
    }

    push() {
        const all = Object.values(registered);
        const packet = { uri: '/distributes', method: 'GET', key: 0, params: all.map((entry) => entry.info) };
        all.forEach((entry) => this.write(entry.socket, packet));
    }

    tell(what, fields) {
        args.event(what, fields);
    }
}

args.exitWithStdin();
new BookDistributor('distributor', Number(options.port), ['POST/distributes', 'GET/distributes']);
