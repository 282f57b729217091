use super::*;

#[test]
fn the_parts_of_a_credentials_file() {
    let text = "\
-----BEGIN NATS USER JWT-----
eyJ0.eyJq.c2ln
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.

-----BEGIN USER NKEY SEED-----
SUABC
------END USER NKEY SEED------
";
    assert_eq!(decorated(text, "NATS USER JWT"), Some("eyJ0.eyJq.c2ln"));
    assert_eq!(decorated(text, "USER NKEY SEED"), Some("SUABC"));
    assert_eq!(decorated(text, "OTHER"), None);
    assert_eq!(decorated("-----BEGIN OTHER-----\n-----END OTHER-----", "OTHER"), None);
}

#[test]
fn a_server_that_failed_is_tried_last() {
    let mut config = NatsConfig::new("a", 1);
    config.servers.push(("::1".to_owned(), 2));
    let connector = Connector::new(&config, String::new()).unwrap();
    assert_eq!(connector.addresses(), ["a:1", "[::1]:2"]);
    connector.put_last("a:1");
    assert_eq!(connector.addresses(), ["[::1]:2", "a:1"]);
}

#[test]
fn a_secret_in_front_of_a_host_is_refused_and_not_printed() {
    let error = NatsConfig::new("user:secret@host", 1).check().unwrap_err();
    assert!(matches!(error, Error::Config { .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    assert!(NatsConfig::new("host", 1).check().is_ok());
}
