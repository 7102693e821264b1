// Imitates the chapter's Client class. Intentional quirks, all of them the book's:
//  - what is left of a read without a closing mark is kept, and never cleared: it is put before EVERY later read, until
//    another unfinished piece replaces it; it also outlives the connection (same object, next connect);
//  - every read is decoded by itself, so a character cut between two reads turns into U+FFFD;
//  - the first empty piece (leading or doubled mark) drops the rest of that read;
//  - a piece that is not JSON throws, uncaught; the mark is not escaped when writing;
//  - a failed connection reports the error first, then the end.
'use strict';

const net = require('net');

const MARK = '\u00b6';
const RETRY_MS = 3000;

// Hands each closed piece of `kept + fresh` to `deliver`; returns what is kept for the next read.
function cut(kept, fresh, deliver) {
    const text = kept ? kept + fresh : fresh;
    const pieces = text.split(MARK);
    const open = text.endsWith(MARK) ? -1 : pieces.length - 1;
    for (let i = 0; i < pieces.length; i += 1) {
        if (i === open) return pieces[i];
        if (pieces[i] === '') return kept;
        deliver(JSON.parse(pieces[i]));
    }
    return kept;
}

class BookClient {
    constructor(host, port, onCreate, onRead, onEnd, onError) {
        this.target = { host, port };
        this.on = { create: onCreate, read: onRead, end: onEnd, error: onError };
        this.kept = undefined;
    }

    // A second call while the first socket lives makes a second socket and forgets the first. A bad port throws here.
    connect() {
        const target = this.target;
        this.socket = net.connect(target, () => this.on.create && this.on.create(target));
        this.socket.on('data', (bytes) => {
            this.kept = cut(this.kept, bytes.toString(), (packet) => this.on.read(target, packet));
        });
        this.socket.on('close', () => this.on.end && this.on.end(target));
        this.socket.on('error', (error) => this.on.error && this.on.error(target, error));
    }

    write(packet) {
        this.socket.write(JSON.stringify(packet) + MARK);
    }
}

// The link to the Distributor that the book's Server and gateway both have: register on connect (if there is a packet
// for it), and look every 3 s whether a new attempt is due; the first look comes after 3 s as well.
// `tell(what, fields)` is for event lines only: connected, disconnected, connect_failed.
function linkToDistributor(host, port, registration, onPacket, tell, firstMs) {
    let up = false;
    const down = (fields) => {
        if (up) tell('disconnected', fields);
        up = false;
    };
    const client = new BookClient(host, port,
        () => {
            up = true;
            tell('connected', {});
            if (registration) client.write(registration);
        },
        (_, packet) => onPacket(packet),
        () => down({}),
        (_, error) => (up ? down({ code: error.code }) : tell('connect_failed', { code: error.code })));
    const look = () => up || client.connect();

    if (firstMs === undefined) firstMs = Number(process.env.PEER_FIRST_CONNECT_MS || RETRY_MS);
    setTimeout(() => {
        look();
        setInterval(look, RETRY_MS);
    }, firstMs);
    return client;
}

function registrationOf(params) {
    return { uri: '/distributes', method: 'POST', key: 0, params };
}

module.exports = BookClient;
Object.assign(module.exports, { MARK, cut, linkToDistributor, registrationOf });
