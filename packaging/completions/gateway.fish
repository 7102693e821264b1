# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_gateway_global_optspecs
    string join \n listen= allow-anonymous= distributor= token-file= admin-listen= name= subscribe= deadline= cors-origin= map-errorcodes= max-connections= keep-alive= max-plain-in-flight= log-format= log-level= config= print-config h/help V/version
end

function __fish_gateway_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_gateway_global_optspecs) -- $cmd 2>/dev/null
    or begin
    set -e cmd[-1]
    argparse -s (__fish_gateway_global_optspecs) -- $cmd 2>/dev/null
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

function __fish_gateway_using_subcommand
    set -l cmd (__fish_gateway_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c gateway -n "__fish_gateway_needs_command" -l listen -d 'Listen on ADDR' -r
complete -c gateway -n "__fish_gateway_needs_command" -l allow-anonymous -d 'Serve all machines without authentication' -r -f -a "true\t''
false\t''"
complete -c gateway -n "__fish_gateway_needs_command" -l distributor -d 'Register at ADDR' -r
complete -c gateway -n "__fish_gateway_needs_command" -l token-file -d 'File with the token for the Distributor' -r -F
complete -c gateway -n "__fish_gateway_needs_command" -l admin-listen -d 'Serve /healthz, /readyz and /metrics on ADDR' -r
complete -c gateway -n "__fish_gateway_needs_command" -l name -d 'Name to register with' -r
complete -c gateway -n "__fish_gateway_needs_command" -l subscribe -d 'Receive only the nodes that serve paths under PREFIX' -r
complete -c gateway -n "__fish_gateway_needs_command" -l deadline -d 'Maximum time for a reply' -r
complete -c gateway -n "__fish_gateway_needs_command" -l cors-origin -d 'Origin whose pages may call the gateway' -r
complete -c gateway -n "__fish_gateway_needs_command" -l map-errorcodes -d 'Answer replies with the HTTP status of their errorcode' -r -f -a "true\t''
false\t''"
complete -c gateway -n "__fish_gateway_needs_command" -l max-connections -d 'Maximum number of HTTP connections; further ones get status 503. The fd limit lowers it' -r
complete -c gateway -n "__fish_gateway_needs_command" -l keep-alive -d 'Maximum time that a connection stays open without a request' -r
complete -c gateway -n "__fish_gateway_needs_command" -l max-plain-in-flight -d 'Maximum bytes of requests in flight to a plain node, which registers without a session; a longer request is sent alone. Plain Node.js services fail after reading more than 64 KiB at once' -r
complete -c gateway -n "__fish_gateway_needs_command" -l log-format -d 'Format of log lines' -r -f -a "text\t'Human-readable lines'
json\t'One JSON object per line'"
complete -c gateway -n "__fish_gateway_needs_command" -l log-level -d 'Least severe level to log' -r -f -a "off\t''
error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c gateway -n "__fish_gateway_needs_command" -l config -d 'Configuration file in TOML' -r -F
complete -c gateway -n "__fish_gateway_needs_command" -l print-config -d 'Check the configuration, print it, and exit'
complete -c gateway -n "__fish_gateway_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c gateway -n "__fish_gateway_needs_command" -s V -l version -d 'Print version'
complete -c gateway -n "__fish_gateway_needs_command" -f -a "completions" -d 'Print a completion script for a shell'
complete -c gateway -n "__fish_gateway_needs_command" -f -a "man" -d 'Print a manual page, as for man -l -'
complete -c gateway -n "__fish_gateway_using_subcommand completions" -s h -l help -d 'Print help'
complete -c gateway -n "__fish_gateway_using_subcommand man" -s h -l help -d 'Print help'
