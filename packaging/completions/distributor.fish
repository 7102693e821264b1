# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_distributor_global_optspecs
    string join \n listen= token-file= allow-from= allow-anonymous= state= loopback-host= heartbeat= silence-timeout= warm-up= listen-backlog= keepalive-idle= keepalive-interval= keepalive-probes= tcp-user-timeout= send-buffer-bytes= max-connections= max-frame-bytes= frame-timeout= first-byte-timeout= max-unsent-bytes= write-timeout= max-entries= max-list-bytes= max-registration-bytes= max-name-bytes= max-urls= max-url-bytes= max-depth= max-accepts-per-turn= max-read-bytes-per-turn= max-frames-per-turn= http= http-host= admin-token-file= max-http-connections= log-format= log-level= config= print-config h/help V/version
end

function __fish_distributor_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_distributor_global_optspecs) -- $cmd 2>/dev/null
    or begin
    set -e cmd[-1]
    argparse -s (__fish_distributor_global_optspecs) -- $cmd 2>/dev/null
    or return
    end
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_distributor_using_subcommand
    set -l cmd (__fish_distributor_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c distributor -n "__fish_distributor_needs_command" -l listen -d 'Listen on ADDR' -r
complete -c distributor -n "__fish_distributor_needs_command" -l token-file -d 'Admit clients with a token of this file' -r -F
complete -c distributor -n "__fish_distributor_needs_command" -l allow-from -d 'Admit clients from this address block' -r
complete -c distributor -n "__fish_distributor_needs_command" -l allow-anonymous -d 'Serve all machines without authentication' -r -f -a "true\t''
false\t''"
complete -c distributor -n "__fish_distributor_needs_command" -l state -d 'Keep the list in this file across restarts' -r -F
complete -c distributor -n "__fish_distributor_needs_command" -l loopback-host -d 'Host with which peers on this machine are listed, so that nodes on other machines reach them [default: their loopback address; ::1 as 127.0.0.1 if the machine has an IPv4 loopback]' -r
complete -c distributor -n "__fish_distributor_needs_command" -l heartbeat -d 'Interval between two heartbeats of a node, at least 10ms' -r
complete -c distributor -n "__fish_distributor_needs_command" -l silence-timeout -d 'Time without data after which a node is removed, at least 1.5 times --heartbeat' -r
complete -c distributor -n "__fish_distributor_needs_command" -l warm-up -d 'Time after the start in which lists are marked as incomplete, and nodes of the last run (--state) can reconnect' -r
complete -c distributor -n "__fish_distributor_needs_command" -l listen-backlog -d 'Maximum number of connections waiting to be accepted; the kernel caps it at net.core.somaxconn' -r
complete -c distributor -n "__fish_distributor_needs_command" -l keepalive-idle -d 'Idle time before the first keepalive probe' -r
complete -c distributor -n "__fish_distributor_needs_command" -l keepalive-interval -d 'Interval between keepalive probes' -r
complete -c distributor -n "__fish_distributor_needs_command" -l keepalive-probes -d 'Number of unanswered keepalive probes after which a connection is closed' -r
complete -c distributor -n "__fish_distributor_needs_command" -l tcp-user-timeout -d 'Maximum time that sent bytes stay unacknowledged (Linux)' -r
complete -c distributor -n "__fish_distributor_needs_command" -l send-buffer-bytes -d 'Size of the send buffer of a connection in the kernel, in bytes' -r
complete -c distributor -n "__fish_distributor_needs_command" -l max-connections -d 'Maximum number of connections of nodes; further ones get errorcode 6. The fd limit lowers it [default: 10000, or 64 less than the fd limit]' -r
complete -c distributor -n "__fish_distributor_needs_command" -l max-frame-bytes -d 'Maximum bytes of a frame, without its ¶' -r
complete -c distributor -n "__fish_distributor_needs_command" -l frame-timeout -d 'Maximum time from the first byte of a frame to its ¶' -r
complete -c distributor -n "__fish_distributor_needs_command" -l first-byte-timeout -d 'Maximum time from accepting a connection to its first byte' -r
complete -c distributor -n "__fish_distributor_needs_command" -l max-unsent-bytes -d 'Maximum bytes queued for a connection, without the list' -r
complete -c distributor -n "__fish_distributor_needs_command" -l write-timeout -d 'Maximum time that a connection reads nothing while data is queued for it' -r
complete -c distributor -n "__fish_distributor_needs_command" -l max-entries -d 'Maximum number of registered nodes' -r
complete -c distributor -n "__fish_distributor_needs_command" -l max-list-bytes -d 'Maximum bytes of the whole list' -r
complete -c distributor -n "__fish_distributor_needs_command" -l max-registration-bytes -d 'Maximum bytes of the params of a registration' -r
complete -c distributor -n "__fish_distributor_needs_command" -l max-name-bytes -d 'Maximum bytes of a name' -r
complete -c distributor -n "__fish_distributor_needs_command" -l max-urls -d 'Maximum number of URLs of a node' -r
complete -c distributor -n "__fish_distributor_needs_command" -l max-url-bytes -d 'Maximum bytes of a URL' -r
complete -c distributor -n "__fish_distributor_needs_command" -l max-depth -d 'Maximum nesting depth of objects and arrays in a registration' -r
complete -c distributor -n "__fish_distributor_needs_command" -l max-accepts-per-turn -d 'Maximum number of connections accepted from a listener in one turn of the loop' -r
complete -c distributor -n "__fish_distributor_needs_command" -l max-read-bytes-per-turn -d 'Maximum bytes read from a connection in one turn of the loop' -r
complete -c distributor -n "__fish_distributor_needs_command" -l max-frames-per-turn -d 'Maximum number of frames processed from a connection in one turn of the loop' -r
complete -c distributor -n "__fish_distributor_needs_command" -l http -d 'HTTP API on ADDR' -r
complete -c distributor -n "__fish_distributor_needs_command" -l http-host -d 'Accept HTTP requests with this host name; repeatable. Always accepted are localhost, addresses and the names in --http; others are rejected, against DNS rebinding' -r
complete -c distributor -n "__fish_distributor_needs_command" -l admin-token-file -d 'File with the token that may drain nodes' -r -F
complete -c distributor -n "__fish_distributor_needs_command" -l max-http-connections -d 'Maximum number of HTTP connections, in addition to those of nodes' -r
complete -c distributor -n "__fish_distributor_needs_command" -l log-format -d 'Format of log lines' -r -f -a "text\t'Human-readable lines'
json\t'One JSON object per line'"
complete -c distributor -n "__fish_distributor_needs_command" -l log-level -d 'Least severe level to log' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c distributor -n "__fish_distributor_needs_command" -l config -d 'Configuration file in TOML' -r -F
complete -c distributor -n "__fish_distributor_needs_command" -l print-config -d 'Check the configuration, print it, and exit'
complete -c distributor -n "__fish_distributor_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c distributor -n "__fish_distributor_needs_command" -s V -l version -d 'Print version'
complete -c distributor -n "__fish_distributor_needs_command" -f -a "serve" -d 'Serve nodes; the default without a subcommand'
complete -c distributor -n "__fish_distributor_needs_command" -f -a "nodes" -d 'List the registered nodes'
complete -c distributor -n "__fish_distributor_needs_command" -f -a "watch" -d 'Print events as they happen, until interrupted'
complete -c distributor -n "__fish_distributor_needs_command" -f -a "why" -d 'Print the events of a node, and the acknowledgements of each'
complete -c distributor -n "__fish_distributor_needs_command" -f -a "drain" -d 'Remove nodes from the list, and report the acknowledgements'
complete -c distributor -n "__fish_distributor_needs_command" -f -a "check" -d 'Check whether a Distributor is ready'
complete -c distributor -n "__fish_distributor_needs_command" -f -a "call" -d 'Call a node that serves a route, and print the results'
complete -c distributor -n "__fish_distributor_needs_command" -f -a "completions" -d 'Print a completion script for a shell'
complete -c distributor -n "__fish_distributor_needs_command" -f -a "man" -d 'Print a manual page, as for man -l -'
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l listen -d 'Listen on ADDR' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l token-file -d 'Admit clients with a token of this file' -r -F
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l allow-from -d 'Admit clients from this address block' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l allow-anonymous -d 'Serve all machines without authentication' -r -f -a "true\t''
false\t''"
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l state -d 'Keep the list in this file across restarts' -r -F
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l loopback-host -d 'Host with which peers on this machine are listed, so that nodes on other machines reach them [default: their loopback address; ::1 as 127.0.0.1 if the machine has an IPv4 loopback]' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l heartbeat -d 'Interval between two heartbeats of a node, at least 10ms' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l silence-timeout -d 'Time without data after which a node is removed, at least 1.5 times --heartbeat' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l warm-up -d 'Time after the start in which lists are marked as incomplete, and nodes of the last run (--state) can reconnect' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l listen-backlog -d 'Maximum number of connections waiting to be accepted; the kernel caps it at net.core.somaxconn' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l keepalive-idle -d 'Idle time before the first keepalive probe' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l keepalive-interval -d 'Interval between keepalive probes' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l keepalive-probes -d 'Number of unanswered keepalive probes after which a connection is closed' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l tcp-user-timeout -d 'Maximum time that sent bytes stay unacknowledged (Linux)' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l send-buffer-bytes -d 'Size of the send buffer of a connection in the kernel, in bytes' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l max-connections -d 'Maximum number of connections of nodes; further ones get errorcode 6. The fd limit lowers it [default: 10000, or 64 less than the fd limit]' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l max-frame-bytes -d 'Maximum bytes of a frame, without its ¶' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l frame-timeout -d 'Maximum time from the first byte of a frame to its ¶' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l first-byte-timeout -d 'Maximum time from accepting a connection to its first byte' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l max-unsent-bytes -d 'Maximum bytes queued for a connection, without the list' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l write-timeout -d 'Maximum time that a connection reads nothing while data is queued for it' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l max-entries -d 'Maximum number of registered nodes' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l max-list-bytes -d 'Maximum bytes of the whole list' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l max-registration-bytes -d 'Maximum bytes of the params of a registration' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l max-name-bytes -d 'Maximum bytes of a name' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l max-urls -d 'Maximum number of URLs of a node' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l max-url-bytes -d 'Maximum bytes of a URL' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l max-depth -d 'Maximum nesting depth of objects and arrays in a registration' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l max-accepts-per-turn -d 'Maximum number of connections accepted from a listener in one turn of the loop' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l max-read-bytes-per-turn -d 'Maximum bytes read from a connection in one turn of the loop' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l max-frames-per-turn -d 'Maximum number of frames processed from a connection in one turn of the loop' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l http -d 'HTTP API on ADDR' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l http-host -d 'Accept HTTP requests with this host name; repeatable. Always accepted are localhost, addresses and the names in --http; others are rejected, against DNS rebinding' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l admin-token-file -d 'File with the token that may drain nodes' -r -F
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l max-http-connections -d 'Maximum number of HTTP connections, in addition to those of nodes' -r
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l log-format -d 'Format of log lines' -r -f -a "text\t'Human-readable lines'
json\t'One JSON object per line'"
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l log-level -d 'Least severe level to log' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l config -d 'Configuration file in TOML' -r -F
complete -c distributor -n "__fish_distributor_using_subcommand serve" -l print-config -d 'Check the configuration, print it, and exit'
complete -c distributor -n "__fish_distributor_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c distributor -n "__fish_distributor_using_subcommand nodes" -l url -d 'Only nodes that list this URL, as in GET/goods, or this path, as in /goods' -r
complete -c distributor -n "__fish_distributor_using_subcommand nodes" -l distributor -d 'Read the list as a node does, from this address instead of the admin API. It lacks data that nodes do not receive. [default: 127.0.0.1:9000, if neither this nor --http is given and nothing listens on port 9001]' -r
complete -c distributor -n "__fish_distributor_using_subcommand nodes" -l http -d 'Address of the admin API (--http of the Distributor) [default: localhost:9001]' -r
complete -c distributor -n "__fish_distributor_using_subcommand nodes" -l token-file -d 'File with the token for authentication' -r -F
complete -c distributor -n "__fish_distributor_using_subcommand nodes" -l json -d 'Print JSON'
complete -c distributor -n "__fish_distributor_using_subcommand nodes" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c distributor -n "__fish_distributor_using_subcommand watch" -l http -d 'Address of the admin API (--http of the Distributor) [default: localhost:9001]' -r
complete -c distributor -n "__fish_distributor_using_subcommand watch" -l token-file -d 'File with the token for authentication' -r -F
complete -c distributor -n "__fish_distributor_using_subcommand watch" -l json -d 'Print JSON'
complete -c distributor -n "__fish_distributor_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c distributor -n "__fish_distributor_using_subcommand why" -l limit -d 'Maximum number of events, the latest ones' -r
complete -c distributor -n "__fish_distributor_using_subcommand why" -l http -d 'Address of the admin API (--http of the Distributor) [default: localhost:9001]' -r
complete -c distributor -n "__fish_distributor_using_subcommand why" -l token-file -d 'File with the token for authentication' -r -F
complete -c distributor -n "__fish_distributor_using_subcommand why" -l json -d 'Print JSON'
complete -c distributor -n "__fish_distributor_using_subcommand why" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c distributor -n "__fish_distributor_using_subcommand drain" -l wait -d 'Wait for all sessions to acknowledge, at most this long (maximum 1m; 10s without a TIME), and fail if one has not [default: do not wait]' -r
complete -c distributor -n "__fish_distributor_using_subcommand drain" -l http -d 'Address of the admin API (--http of the Distributor) [default: localhost:9001]' -r
complete -c distributor -n "__fish_distributor_using_subcommand drain" -l token-file -d 'File with the token for authentication' -r -F
complete -c distributor -n "__fish_distributor_using_subcommand drain" -l json -d 'Print JSON'
complete -c distributor -n "__fish_distributor_using_subcommand drain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c distributor -n "__fish_distributor_using_subcommand check" -l http -d 'Address of the admin API (--http of the Distributor) [default: localhost:9001]' -r
complete -c distributor -n "__fish_distributor_using_subcommand check" -l token-file -d 'File with the token for authentication' -r -F
complete -c distributor -n "__fish_distributor_using_subcommand check" -l json -d 'Print JSON'
complete -c distributor -n "__fish_distributor_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c distributor -n "__fish_distributor_using_subcommand call" -l distributor -d 'Address of the Distributor: ADDRESS:PORT or NAME:PORT. All addresses of a name are tried' -r
complete -c distributor -n "__fish_distributor_using_subcommand call" -l token-file -d 'File with the token for authentication' -r -F
complete -c distributor -n "__fish_distributor_using_subcommand call" -l deadline -d 'Maximum time until the reply' -r
complete -c distributor -n "__fish_distributor_using_subcommand call" -l json -d 'Print the outcome as JSON'
complete -c distributor -n "__fish_distributor_using_subcommand call" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c distributor -n "__fish_distributor_using_subcommand completions" -s h -l help -d 'Print help'
complete -c distributor -n "__fish_distributor_using_subcommand man" -s h -l help -d 'Print help'
