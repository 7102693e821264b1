// A clustered service: a master that forks workers, each of them a whole service, so that one name and one port are
// registered once per worker, over as many connections. A dead worker is not replaced.
//   node cluster_service.js --workers 3 --name goods --port 0 --urls GET/goods --distributor 127.0.0.1:9000 [--verbose]
// With --port 0 the cluster module gives all workers the same port. Every line of a worker carries its pid.
'use strict';

const cluster = require('cluster');
const args = require('./args');
const { Service, DEFAULTS } = require('./service');

const options = args.parse(Object.assign({ workers: '3' }, DEFAULTS));

if (cluster.isPrimary) {
    args.exitWithStdin();
    cluster.setupPrimary({ stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    cluster.on('exit', (worker, code, signal) => args.event('worker_exit', { pid: worker.process.pid, code, signal }));
    args.event('master', { pid: process.pid });
    for (let i = 0; i < Number(options.workers); i += 1) {
        args.event('worker', { pid: cluster.fork().process.pid });
    }
} else {
    process.on('disconnect', () => process.exit(0)); // the master has ended
    process.stdout.on('error', () => {});
    new Service(options, { pid: process.pid });
}
