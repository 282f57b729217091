#[cfg(feature = "postgres")]
mod postgres;

use super::*;

async fn refused(url: &str) -> String {
    connect(url).await.expect_err(url).to_string()
}

#[tokio::test]
async fn an_unknown_scheme_is_answered_with_those_compiled_in() {
    for url in ["kafka://:hunter2@host:6379/0", "tavern.db", "hunter2@host:1", ""] {
        let error = refused(url).await;
        assert!(error.contains("`memory:`"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    assert!(refused("kafka://host").await.contains("`kafka:`"));
}

#[tokio::test]
async fn an_unknown_parameter_is_an_error_that_names_the_known_ones() {
    let error = refused("memory:?namespace=a&durabilty=full").await;
    assert!(error.contains("`durabilty`") && error.contains("namespace, max_payload"), "{error}");
    let error = refused("memory:?namespace=a&namespace=b").await;
    assert!(error.contains("`namespace` is given twice"), "{error}");
    let error = refused("memory:?max_payload=much").await;
    assert!(error.contains("whole number"), "{error}");
    let error = refused("memory:somewhere").await;
    assert!(error.contains("nothing but a query"), "{error}");
}

#[tokio::test]
async fn the_query_is_applied() {
    let bus = connect("memory:?namespace=shop%201&max_payload=10").await.unwrap();
    assert_eq!(bus.info().namespace, "shop 1");
    assert_eq!(bus.info().max_payload, 10);
    bus.close().await.unwrap();
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn sqlite_takes_a_path_as_it_stands() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a b%20.db");
    let url = format!("sqlite:{}?durability=normal", path.display());
    let bus = connect(&url).await.unwrap();
    assert!(path.exists());
    assert!(bus.info().durability.contains("NORMAL"), "{}", bus.info().durability);
    bus.close().await.unwrap();

    assert!(refused("sqlite:").await.contains("a file is expected"));
    assert!(refused("sqlite:x.db?durability=some").await.contains("`full` or `normal`"));
    assert!(refused("sqlite:x.db?mode=ro").await.contains("it knows namespace, durability"));
}

#[cfg(feature = "redis")]
mod redis {
    use std::time::Duration;

    use tavern_redis::{Durability, RedisConfig, Topology};

    use super::*;

    fn config(url: &str) -> Result<RedisConfig> {
        let (scheme, rest) = url.split_once(':').unwrap();
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        crate::connect::redis::config(scheme == "rediss", place, Query::parse(query)?)
    }

    #[test]
    fn the_usual_forms_are_understood() {
        let one = config("redis://localhost").unwrap();
        assert_eq!(one.addresses, [("localhost".to_owned(), 6379)]);
        assert_eq!((one.database, one.topology, one.tls), (0, Topology::Single, None));
        assert_eq!(one.credentials.password, None);

        let full = config("rediss://ann:p%40ss@[::1]:7000/3?namespace=shop&ca=/ca.pem").unwrap();
        assert_eq!(full.addresses, [("::1".to_owned(), 7000)]);
        assert_eq!(full.credentials.username.as_deref(), Some("ann"));
        assert_eq!(full.credentials.password.as_deref(), Some("p@ss"));
        assert_eq!((full.database, full.namespace.as_str()), (3, "shop"));
        assert_eq!(full.tls.unwrap().ca.unwrap().to_str(), Some("/ca.pem"));

        let password = config("redis://:secret@h").unwrap().credentials;
        assert_eq!((password.username, password.password.as_deref()), (None, Some("secret")));
    }

    #[test]
    fn several_hosts_are_sentinels_or_nodes_of_a_cluster() {
        let sentinels = config("redis://a,b:7,c?sentinel=main&sentinel_password=x").unwrap();
        assert_eq!(sentinels.topology, Topology::Sentinel);
        assert_eq!(sentinels.sentinel_master.as_deref(), Some("main"));
        let ports: Vec<_> = sentinels.addresses.iter().map(|(_, port)| *port).collect();
        assert_eq!(ports, [26379, 7, 26379]);
        assert_eq!(config("redis://a,b?cluster=true").unwrap().topology, Topology::Cluster);
        assert!(config("redis://a?cluster=true&sentinel=m").is_err());
    }

    #[test]
    fn waiting_for_replicas_is_a_choice() {
        let replicas = config("redis://h?replicas=2&replicas_timeout=250").unwrap().durability;
        let timeout = Duration::from_millis(250);
        assert_eq!(replicas, Durability::Replicas { replicas: 2, timeout });
        assert!(config("redis://h?replicas_timeout=250").is_err());
    }

    #[tokio::test]
    async fn what_is_wrong_is_said_and_no_secret() {
        for (url, said) in [
            ("redis:host", "`//` and a host"),
            ("redis://:hunter2@", "HOST:PORT"),
            ("redis://hunter2@host:x1", "HOST:PORT"),
            ("redis://host/hunter2", "number of a database"),
            ("redis://:hunter2@host?db=1", "it knows namespace"),
            ("redis://:hunter2@host?cluster=yes", "`true` or `false`"),
            ("redis://:hunter2@host?ca=x", "`rediss://`"),
            ("rediss://:hunter2@host?cert=x", "only of use together"),
            ("redis://host?namespace={a}", "no braces"),
            ("redis://:hunter2@host/1?cluster=true", "database 0 only"),
        ] {
            let error = refused(url).await;
            assert!(error.contains(said) && !error.contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_is_not_in_what_is_printed() {
        let config = config("redis://ann:hunter2@h?sentinel=m&sentinel_password=hunter2").unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}

#[cfg(feature = "nats")]
mod nats {
    use std::time::Duration;

    use tavern_nats::{Credentials, NatsConfig, Storage};

    use super::*;

    fn config(url: &str) -> Result<NatsConfig> {
        let (scheme, rest) = url.split_once(':').unwrap();
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        crate::connect::nats::config(scheme == "tls", place, Query::parse(query)?)
    }

    fn named(host: &str, port: u16) -> (String, u16) {
        (host.to_owned(), port)
    }

    fn token(text: &str) -> Credentials {
        Credentials::Token(text.to_owned())
    }

    #[test]
    fn the_usual_forms_are_understood() {
        let one = config("nats://localhost").unwrap();
        assert_eq!(one.servers, [named("localhost", 4222)]);
        assert_eq!((one.credentials, one.tls), (Credentials::None, None));

        let full = config("tls://ann:p%40ss@[::1]:7000/?namespace=shop&ca=/ca.pem").unwrap();
        assert_eq!(full.servers, [named("::1", 7000)]);
        let user = Credentials::User { username: "ann".to_owned(), password: "p@ss".to_owned() };
        assert_eq!((full.credentials, full.namespace.as_str()), (user, "shop"));
        let tls = full.tls.unwrap();
        assert_eq!(tls.ca.unwrap().to_str(), Some("/ca.pem"));
        assert_eq!((tls.client, tls.first), (None, false));

        let files = "tls://h?cert=/c.pem&key=/k.pem&tls_first=true";
        let tls = config(files).unwrap().tls.unwrap();
        assert_eq!((tls.client, tls.first), (Some(("/c.pem".into(), "/k.pem".into())), true));
    }

    #[test]
    fn several_hosts_are_one_cluster_however_they_are_listed() {
        let hosts = [named("a", 4222), named("b", 7), named("c", 4222)];
        assert_eq!(config("nats://a,b:7,c").unwrap().servers, hosts);
        let whole = config("nats://s3cret@a,nats://b:7,nats://c:4222").unwrap();
        assert_eq!((whole.servers.as_slice(), whole.credentials), (&hosts[..], token("s3cret")));
    }

    #[test]
    fn a_user_without_a_colon_is_a_token() {
        assert_eq!(config("nats://s3%2Fcret@h").unwrap().credentials, token("s3/cret"));
        for neither in ["nats://hunter2:@h", "nats://:hunter2@h", "nats://:@h"] {
            let error = config(neither).unwrap_err().to_string();
            assert!(error.contains("USER:PASSWORD or a token"), "{neither}: {error}");
        }
    }

    #[test]
    fn keys_are_read_from_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("user.nk");
        let nkey = format!("nats://h?nkey={}", path.display());
        for text in [
            "SUsecret",
            "  SUsecret\n",
            "-----BEGIN USER NKEY SEED-----\nSUsecret\n------END USER NKEY SEED------\n",
        ] {
            std::fs::write(&path, text).unwrap();
            let key = Credentials::NKey("SUsecret".to_owned());
            assert_eq!(config(&nkey).unwrap().credentials, key, "{text}");
        }
        std::fs::write(&path, "UAsecret").unwrap();
        let error = config(&nkey).unwrap_err().to_string();
        assert!(error.contains("no seed") && !error.contains("secret"), "{error}");
        // A credentials file is left to the backend, which reads it at each connect.
        let creds = config("nats://h?creds=/no/such.creds").unwrap().credentials;
        assert_eq!(creds, Credentials::File("/no/such.creds".into()));
    }

    #[test]
    fn the_rest_is_taken_with_its_unit() {
        let text = "nats://h?replicas=3&storage=memory&domain=hub&inbox_prefix=_I.x&max_payload=9\
                    &dedup_window=600&lane_memory=60&timeout=250&ping_interval=70&client_name=shop";
        let config = config(text).unwrap();
        assert_eq!((config.replicas, config.storage, config.max_payload), (3, Storage::Memory, 9));
        assert_eq!(config.domain.as_deref(), Some("hub"));
        assert_eq!(config.inbox_prefix.as_deref(), Some("_I.x"));
        assert_eq!(config.dedup_window, Duration::from_secs(600));
        assert_eq!(config.lane_memory, Duration::from_secs(60));
        assert_eq!(config.timeout, Duration::from_millis(250));
        assert_eq!(config.ping_interval, Duration::from_millis(70));
        assert_eq!(config.client_name, "shop");
    }

    #[tokio::test]
    async fn what_is_wrong_is_said_and_no_secret() {
        for (url, said) in [
            ("nats:host", "`//` and a host"),
            ("nats://hunter2@", "HOST:PORT"),
            ("nats://hunter2@host:x1", "HOST:PORT"),
            ("nats://host/hunter2", "a path has no meaning"),
            ("nats://a:hunter2@h,nats://a:hunter2@i", "once, before the first host"),
            ("nats://hunter2@host?db=1", "no parameter of `nats:`; it knows namespace"),
            ("tls://hunter2@host?db=1", "no parameter of `tls:`; it knows namespace"),
            ("nats://hunter2@host?storage=disk", "`file` or `memory`"),
            ("nats://hunter2@host?replicas=300", "whole number of replicas"),
            ("nats://hunter2@host?replicas=6", "replicas may be 1 to 5"),
            ("nats://hunter2@host?dedup_window=10m", "whole number of seconds"),
            ("nats://hunter2@host?dedup_window=10", "five minutes"),
            ("nats://hunter2@host?ca=x", "`tls://`"),
            ("nats://hunter2@host?tls_first=true", "`tls://`"),
            ("tls://hunter2@host?tls_first=yes", "`true` or `false`"),
            ("tls://hunter2@host?cert=x", "only of use together"),
            ("nats://hunter2@host?creds=a", "exclude one another"),
            ("nats://host?nkey=SUhunter2", "path of a file with the seed, not the seed"),
            ("nats://hunter2@host?domain=a.b", "domain is one word"),
        ] {
            let error = refused(url).await;
            assert!(error.contains(said) && !error.contains("hunter2"), "{url}: {error}");
        }
    }

    #[test]
    fn a_secret_is_not_in_what_is_printed() {
        for url in ["nats://ann:hunter2@h", "nats://hunter2@h"] {
            let config = config(url).unwrap();
            assert!(!format!("{config:?}").contains("hunter2"));
        }
    }
}
