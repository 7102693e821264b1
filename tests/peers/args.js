// What all peers share: `--name value` options, event lines on stdout (one JSON object per line), and the end
// of the process when its stdin closes, so that a test that ends leaves no process behind.
'use strict';

// `--port 0 --verbose` -> {port: '0', verbose: true}. Options that are not in `defaults` are rejected.
function parse(defaults) {
    const words = process.argv.slice(2);
    const options = Object.assign({}, defaults);
    while (words.length > 0) {
        const word = words.shift();
        const name = word.replace(/^--/, '');
        if (!word.startsWith('--') || !(name in defaults)) {
            console.error(`unknown argument ${word}; known: ${Object.keys(defaults).map((n) => '--' + n).join(' ')}`);
            process.exit(2);
        }
        const hasValue = words.length > 0 && !words[0].startsWith('--');
        options[name] = hasValue ? words.shift() : true;
    }
    return options;
}

// '127.0.0.1:9000' or '[::1]:9000'
function hostPort(text) {
    const colon = text.lastIndexOf(':');
    return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
}

// 'POST/goods,GET/goods' -> ['POST/goods', 'GET/goods']; '' -> []
function list(text) {
    return typeof text === 'string' ? text.split(',').filter((item) => item !== '') : [];
}

function event(name, fields) {
    process.stdout.write(JSON.stringify(Object.assign({ event: name }, fields)) + '\n');
}

// Prints a packet of the Distributor. It never throws: a packet may only end a peer by the code of the peer.
function packetEvent(packet, withPacket) {
    const isList = packet && packet.uri === '/distributes' && packet.method === 'GET' && Array.isArray(packet.params);
    if (!isList) return event('packet', { packet });
    const entries = packet.params.map((e) => e && { name: e.name, host: e.host, port: e.port });
    const names = entries.map((e) => (e ? e.name : null));
    return event('list', Object.assign({ names, entries }, withPacket ? { packet } : {}));
}

function exitWithStdin() {
    process.stdin.on('end', () => process.exit(0));
    process.stdin.on('error', () => process.exit(0));
    process.stdin.resume();
    process.stdout.on('error', () => {}); // a test may stop reading
}

module.exports = { parse, hostPort, list, event, packetEvent, exitWithStdin };
