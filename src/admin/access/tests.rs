use super::*;

#[test]
fn accepts_only_addresses_and_configured_hosts() {
    let names = ["registry.internal".to_owned()];
    for ours in [
        "localhost",
        "LOCALHOST:9001",
        "127.0.0.1:1",
        "[::1]:9001",
        "::1",
        "10.0.0.5",
        "registry.internal:80",
        "Registry.internal.",
    ] {
        assert!(is_own_host(ours, &names), "{ours}");
    }
    for not in [
        "",
        "evil.example",
        "evil.example:9001",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "registry.internal.evil",
        "[evil]",
        "127.0.0.1:x",
    ] {
        assert!(!is_own_host(not, &names), "{not}");
    }
}

#[test]
fn reads_bearer_tokens_and_basic_passwords() {
    let bearer = |header| credentials(header, "bearer");
    assert_eq!(bearer("Bearer s3cret"), Some("s3cret"));
    assert_eq!(bearer("bearer  s3cret "), Some("s3cret"));
    let basic = |header| credentials(header, "basic").and_then(password);
    // admin:open:sesame
    let encoded = "Basic YWRtaW46b3BlbjpzZXNhbWU=";
    assert_eq!(basic(encoded).as_deref(), Some("open:sesame"));
    for none in ["", "Bearer", "Basic !!!", "Basic YWRtaW4=", "Digest a"] {
        assert_eq!((bearer(none), basic(none)), (None, None), "{none}");
    }
}
