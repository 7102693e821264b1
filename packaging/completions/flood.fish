# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_flood_global_optspecs
    string join \n h/help V/version
end

function __fish_flood_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_flood_global_optspecs) -- $cmd 2>/dev/null
    or begin
    set -e cmd[-1]
    argparse -s (__fish_flood_global_optspecs) -- $cmd 2>/dev/null
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

function __fish_flood_using_subcommand
    set -l cmd (__fish_flood_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c flood -n "__fish_flood_needs_command" -s h -l help -d 'Print help'
complete -c flood -n "__fish_flood_needs_command" -s V -l version -d 'Print version'
complete -c flood -n "__fish_flood_needs_command" -f -a "storm" -d 'All nodes connect and register at once; then all but one leave at once'
complete -c flood -n "__fish_flood_needs_command" -f -a "churn" -d 'Nodes join and leave by a schedule while others watch'
complete -c flood -n "__fish_flood_needs_command" -f -a "slow" -d 'Churn while some watchers never read, compared with churn without them'
complete -c flood -n "__fish_flood_needs_command" -f -a "rpc" -d 'Requests to a node; --spawn starts one that echoes'
complete -c flood -n "__fish_flood_needs_command" -f -a "idle" -d 'Connections that do nothing, and what they cost'
complete -c flood -n "__fish_flood_needs_command" -f -a "completions" -d 'Print a completion script for a shell'
complete -c flood -n "__fish_flood_needs_command" -f -a "man" -d 'Print a manual page, as for man -l -'
complete -c flood -n "__fish_flood_using_subcommand storm" -l nodes -d 'Nodes that connect at once' -r
complete -c flood -n "__fish_flood_using_subcommand storm" -l watch -d 'Registration of the nodes; delta by default with --subscriptions' -r -f -a "plain\t'No session; receives whole lists'
list\t'Session that receives whole lists'
delta\t'Session that receives changes'"
complete -c flood -n "__fish_flood_using_subcommand storm" -l services -d 'Services that the nodes belong to in turn, each with one url' -r
complete -c flood -n "__fish_flood_using_subcommand storm" -l subscriptions -d 'Services that each session subscribes to [default: it receives everything]' -r
complete -c flood -n "__fish_flood_using_subcommand storm" -l rounds -d 'Number of storms, in turn with as many of the baseline' -r
complete -c flood -n "__fish_flood_using_subcommand storm" -l http-readers -d 'HTTP clients that read 10 KiB per second each, half of them /events and half /metrics; without --baseline, compared with the same run without them' -r
complete -c flood -n "__fish_flood_using_subcommand storm" -l http -d 'HTTP address of the Distributor, unless --spawn starts one' -r
complete -c flood -n "__fish_flood_using_subcommand storm" -l to -d 'Server to load' -r
complete -c flood -n "__fish_flood_using_subcommand storm" -l pid -d 'Process of the server, to report its CPU time and memory' -r
complete -c flood -n "__fish_flood_using_subcommand storm" -l timeout -d 'Time limit of each step; the run fails if a step takes longer' -r
complete -c flood -n "__fish_flood_using_subcommand storm" -l source-addresses -d 'Connect from this many loopback addresses [default: as many as the port range requires]' -r
complete -c flood -n "__fish_flood_using_subcommand storm" -l html -d 'Write a page with the table, the percentile curves and the time line' -r -F
complete -c flood -n "__fish_flood_using_subcommand storm" -l spawn -d 'Start a server for the run, in a process of its own'
complete -c flood -n "__fish_flood_using_subcommand storm" -l baseline -d 'Compare with a bare server that sends the same bytes to the same sockets, in turn'
complete -c flood -n "__fish_flood_using_subcommand storm" -l json -d 'Print JSON instead of the table'
complete -c flood -n "__fish_flood_using_subcommand storm" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c flood -n "__fish_flood_using_subcommand churn" -l nodes -d 'Nodes that watch and read' -r
complete -c flood -n "__fish_flood_using_subcommand churn" -l watch -d 'Registration of the watchers' -r -f -a "plain\t'No session; receives whole lists'
list\t'Session that receives whole lists'
delta\t'Session that receives changes'"
complete -c flood -n "__fish_flood_using_subcommand churn" -l rate -d 'Joins per second, and leaves per second' -r
complete -c flood -n "__fish_flood_using_subcommand churn" -l duration -d 'Total time of all rounds; the comparison takes as long again' -r
complete -c flood -n "__fish_flood_using_subcommand churn" -l rounds -d 'Number of rounds, in turn with as many of the comparison' -r
complete -c flood -n "__fish_flood_using_subcommand churn" -l to -d 'Server to load' -r
complete -c flood -n "__fish_flood_using_subcommand churn" -l pid -d 'Process of the server, to report its CPU time and memory' -r
complete -c flood -n "__fish_flood_using_subcommand churn" -l timeout -d 'Time limit of each step; the run fails if a step takes longer' -r
complete -c flood -n "__fish_flood_using_subcommand churn" -l source-addresses -d 'Connect from this many loopback addresses [default: as many as the port range requires]' -r
complete -c flood -n "__fish_flood_using_subcommand churn" -l html -d 'Write a page with the table, the percentile curves and the time line' -r -F
complete -c flood -n "__fish_flood_using_subcommand churn" -l services -d 'Services that the nodes belong to in turn, each with one url' -r
complete -c flood -n "__fish_flood_using_subcommand churn" -l subscriptions -d 'Services that each session subscribes to [default: it receives everything]' -r
complete -c flood -n "__fish_flood_using_subcommand churn" -l load -d 'Choose the rate at which the bare loop is busy for this share of the time, from 0.01 to 0.95' -r
complete -c flood -n "__fish_flood_using_subcommand churn" -l http-readers -d 'HTTP clients that read 10 KiB per second each, half of them /events and half /metrics; without --baseline, compared with the same run without them' -r
complete -c flood -n "__fish_flood_using_subcommand churn" -l http -d 'HTTP address of the Distributor, unless --spawn starts one' -r
complete -c flood -n "__fish_flood_using_subcommand churn" -l unlisted -d 'Register watchers without a port, so that the list stays short'
complete -c flood -n "__fish_flood_using_subcommand churn" -l spawn -d 'Start a server for the run, in a process of its own'
complete -c flood -n "__fish_flood_using_subcommand churn" -l baseline -d 'Compare with a bare server that sends the same bytes to the same sockets, in turn'
complete -c flood -n "__fish_flood_using_subcommand churn" -l json -d 'Print JSON instead of the table'
complete -c flood -n "__fish_flood_using_subcommand churn" -l embedded -d 'Also turn a node that watches and a loop that does nothing, and report the longest turn of each'
complete -c flood -n "__fish_flood_using_subcommand churn" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c flood -n "__fish_flood_using_subcommand slow" -l stuck -d 'Nodes that watch and never read' -r
complete -c flood -n "__fish_flood_using_subcommand slow" -l nodes -d 'Nodes that watch and read' -r
complete -c flood -n "__fish_flood_using_subcommand slow" -l watch -d 'Registration of the watchers' -r -f -a "plain\t'No session; receives whole lists'
list\t'Session that receives whole lists'
delta\t'Session that receives changes'"
complete -c flood -n "__fish_flood_using_subcommand slow" -l rate -d 'Joins per second, and leaves per second' -r
complete -c flood -n "__fish_flood_using_subcommand slow" -l duration -d 'Total time of all rounds; the comparison takes as long again' -r
complete -c flood -n "__fish_flood_using_subcommand slow" -l rounds -d 'Number of rounds, in turn with as many of the comparison' -r
complete -c flood -n "__fish_flood_using_subcommand slow" -l to -d 'Server to load' -r
complete -c flood -n "__fish_flood_using_subcommand slow" -l pid -d 'Process of the server, to report its CPU time and memory' -r
complete -c flood -n "__fish_flood_using_subcommand slow" -l timeout -d 'Time limit of each step; the run fails if a step takes longer' -r
complete -c flood -n "__fish_flood_using_subcommand slow" -l source-addresses -d 'Connect from this many loopback addresses [default: as many as the port range requires]' -r
complete -c flood -n "__fish_flood_using_subcommand slow" -l html -d 'Write a page with the table, the percentile curves and the time line' -r -F
complete -c flood -n "__fish_flood_using_subcommand slow" -l unlisted -d 'Register watchers without a port, so that the list stays short'
complete -c flood -n "__fish_flood_using_subcommand slow" -l spawn -d 'Start a server for the run, in a process of its own'
complete -c flood -n "__fish_flood_using_subcommand slow" -l baseline -d 'Compare with a bare server that sends the same bytes to the same sockets, in turn'
complete -c flood -n "__fish_flood_using_subcommand slow" -l json -d 'Print JSON instead of the table'
complete -c flood -n "__fish_flood_using_subcommand slow" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c flood -n "__fish_flood_using_subcommand rpc" -l connections -d 'Connections to the node' -r
complete -c flood -n "__fish_flood_using_subcommand rpc" -l depth -d 'Limit of requests without a reply on each connection; a node allows 1024' -r
complete -c flood -n "__fish_flood_using_subcommand rpc" -l rate -d 'Requests per second, by a schedule that does not wait for replies: times count from when a request was due [default: each reply is followed by the next request]' -r
complete -c flood -n "__fish_flood_using_subcommand rpc" -l duration -d 'Total time of all rounds; the baseline takes as long again' -r
complete -c flood -n "__fish_flood_using_subcommand rpc" -l rounds -d 'Number of rounds, in turn with as many of the baseline' -r
complete -c flood -n "__fish_flood_using_subcommand rpc" -l path -d 'Method and path of the requests, as in GET/echo' -r
complete -c flood -n "__fish_flood_using_subcommand rpc" -l params -d 'Params of each request, 64 bytes by default' -r
complete -c flood -n "__fish_flood_using_subcommand rpc" -l pid -d 'Process of the server, to report its CPU time and memory' -r
complete -c flood -n "__fish_flood_using_subcommand rpc" -l timeout -d 'Time limit of each step; the run fails if a step takes longer' -r
complete -c flood -n "__fish_flood_using_subcommand rpc" -l source-addresses -d 'Connect from this many loopback addresses [default: as many as the port range requires]' -r
complete -c flood -n "__fish_flood_using_subcommand rpc" -l html -d 'Write a page with the table, the percentile curves and the time line' -r -F
complete -c flood -n "__fish_flood_using_subcommand rpc" -l to -d 'Server to load' -r
complete -c flood -n "__fish_flood_using_subcommand rpc" -l spawn -d 'Start a server for the run, in a process of its own'
complete -c flood -n "__fish_flood_using_subcommand rpc" -l baseline -d 'Compare with a bare server that sends the same bytes to the same sockets, in turn'
complete -c flood -n "__fish_flood_using_subcommand rpc" -l json -d 'Print JSON instead of the table'
complete -c flood -n "__fish_flood_using_subcommand rpc" -s h -l help -d 'Print help'
complete -c flood -n "__fish_flood_using_subcommand idle" -l connections -d 'Connections that do nothing' -r
complete -c flood -n "__fish_flood_using_subcommand idle" -l duration -d 'Time that the connections stay idle' -r
complete -c flood -n "__fish_flood_using_subcommand idle" -l to -d 'Server to load' -r
complete -c flood -n "__fish_flood_using_subcommand idle" -l pid -d 'Process of the server, to report its CPU time and memory' -r
complete -c flood -n "__fish_flood_using_subcommand idle" -l timeout -d 'Time limit of each step; the run fails if a step takes longer' -r
complete -c flood -n "__fish_flood_using_subcommand idle" -l source-addresses -d 'Connect from this many loopback addresses [default: as many as the port range requires]' -r
complete -c flood -n "__fish_flood_using_subcommand idle" -l html -d 'Write a page with the table, the percentile curves and the time line' -r -F
complete -c flood -n "__fish_flood_using_subcommand idle" -l registered -d 'Register the connections and send heartbeats, but watch nothing'
complete -c flood -n "__fish_flood_using_subcommand idle" -l unlisted -d 'Register without a port, so that the list stays short'
complete -c flood -n "__fish_flood_using_subcommand idle" -l spawn -d 'Start a server for the run, in a process of its own'
complete -c flood -n "__fish_flood_using_subcommand idle" -l baseline -d 'Compare with a bare server that sends the same bytes to the same sockets, in turn'
complete -c flood -n "__fish_flood_using_subcommand idle" -l json -d 'Print JSON instead of the table'
complete -c flood -n "__fish_flood_using_subcommand idle" -s h -l help -d 'Print help'
complete -c flood -n "__fish_flood_using_subcommand completions" -s h -l help -d 'Print help'
complete -c flood -n "__fish_flood_using_subcommand man" -s h -l help -d 'Print help'
