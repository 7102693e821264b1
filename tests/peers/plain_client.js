// A plain client, as docs/protocol.md describes them. Intentional quirks:
//  - the rest of a read after its last frame end is kept and never cleared: it is prepended to every later read
//    until another unfinished frame replaces it, also after a new connect of the same object;
//  - every read is decoded by itself, so a character that is cut between two reads becomes U+FFFD;
//  - the first empty frame (a leading or doubled frame end) drops the rest of that read;
//  - a frame that is not JSON throws, uncaught; frame ends are not escaped when writing;
//  - a failed connection reports the error first, then the end.
'use strict';

const net = require('net');

const MARK = '\u00b6';
const RETRY_MS = 3000;

// Passes each whole frame of `kept + fresh` to `deliver`. Returns the bytes that are kept for the next read.
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

class PlainClient {
    constructor(host, port, onCreate, onRead, onEnd, onError) {
        this.target = { host, port };
        this.on = { create: onCreate, read: onRead, end: onEnd, error: onError };
        this.kept = undefined;
    }

    // A second call while the first socket is open forgets that socket. A bad port throws here.
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

// The link of servers and gateways to the Distributor: registers on connect (if there is a packet for it), and
// checks every 3 s, for the first time after 3 s, whether a new attempt is due.
// `report(what, fields)` prints event lines: connected, disconnected, connect_failed.
function linkToDistributor(host, port, registration, onPacket, report, firstMs) {
    let up = false;
    const down = (fields) => {
        if (up) report('disconnected', fields);
        up = false;
    };
    const client = new PlainClient(host, port,
        () => {
            up = true;
            report('connected', {});
            if (registration) client.write(registration);
        },
        (_, packet) => onPacket(packet),
        () => down({}),
        (_, error) => (up ? down({ code: error.code }) : report('connect_failed', { code: error.code })));
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

module.exports = PlainClient;
Object.assign(module.exports, { MARK, cut, linkToDistributor, registrationOf });
