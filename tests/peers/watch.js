// Not in the book: prints everything a book client gets from the Distributor, one JSON line per packet. It registers only
// if --name, --port or --urls is given, and listens on nothing. It connects at once (PEER_FIRST_CONNECT_MS does not
// count), tries again every 3 s, and has all the quirks of book_client.js. As nobody listens there, a book gateway would
// dial it in vain on every list: register it under the name "gate" (the default), which gateways leave alone.
//   node watch.js --distributor 127.0.0.1:9000 [--name x --port 9010 --urls GET/x]
'use strict';

const args = require('./args');
const { linkToDistributor, registrationOf } = require('./book_client');

const options = args.parse({ distributor: '127.0.0.1:9000', name: null, port: null, urls: null });
args.exitWithStdin();

const { host, port } = args.hostPort(options.distributor);
const asked = options.name !== null || options.port !== null || options.urls !== null;
const registration = asked
    ? registrationOf({ port: Number(options.port || 9010), name: options.name || 'gate', urls: args.list(options.urls) })
    : null;
linkToDistributor(host, port, registration, (packet) => args.packetEvent(packet, true), args.event, 0);
