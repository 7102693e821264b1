// Prints everything that a plain client receives from the Distributor, one JSON line per packet. It registers only if
// --name, --port or --urls is given, and listens on nothing. It connects at once (without PEER_FIRST_CONNECT_MS), tries
// again every 3 s, and has all the quirks of plain_client.js. Plain gateways would try to connect to it on every list:
// register it under the name "gate" (the default), which they ignore.
//   node watch.js --distributor 127.0.0.1:9000 [--name x --port 9010 --urls GET/x]
'use strict';

const args = require('./args');
const { linkToDistributor, registrationOf } = require('./plain_client');

const options = args.parse({ distributor: '127.0.0.1:9000', name: null, port: null, urls: null });
args.exitWithStdin();

const { host, port } = args.hostPort(options.distributor);
const asked = options.name !== null || options.port !== null || options.urls !== null;
const registration = asked
    ? registrationOf({ port: Number(options.port || 9010), name: options.name || 'gate', urls: args.list(options.urls) })
    : null;
linkToDistributor(host, port, registration, (packet) => args.packetEvent(packet, true), args.event, 0);
