use std::io::Write as _;

use tokio_postgres::config::TargetSessionAttrs;

use super::*;

#[test]
fn urls_and_pairs_say_the_same() {
    let url = "postgres://u%40x:p%3Aw@[::1]:6543/db?sslmode=verify-full&sslrootcert=/a%20b.pem&application_name=x";
    let pairs = "user='u@x' password = 'p:w' host=::1 port=6543 dbname=db sslmode=verify-full \
                 sslrootcert='/a b.pem' application_name=x";
    for text in [url, pairs] {
        let dsn = Dsn::parse(text).unwrap();
        assert_eq!(dsn.config.get_user(), Some("u@x"), "{text}");
        assert_eq!(dsn.config.get_password(), Some(b"p:w".as_slice()));
        assert_eq!(dsn.location(), "postgres://[::1]:6543/db");
        assert_eq!(dsn.verify, Verify::Full);
        assert_eq!(dsn.root.as_deref(), Some(Path::new("/a b.pem")));
        assert_eq!(dsn.config.get_application_name(), Some("x"));
        assert!(!format!("{dsn:?}").contains("p:w"));
    }
}

#[test]
fn several_hosts() {
    let dsn = Dsn::parse("postgresql://u@a,b:7000/db?target_session_attrs=read-write").unwrap();
    assert_eq!(dsn.location(), "postgres://a:5432,b:7000/db");
}

#[test]
fn a_secret_that_cannot_be_read_is_not_quoted() {
    for text in ["postgres://u:sec%ZZret@h:port/db", "host=h password='secret", "password=secret"] {
        let error = Dsn::parse(text).unwrap_err().to_string();
        assert!(!error.contains("sec"), "{error}");
    }
}

/// As `libpq` has it: only `@` and `/` end the user and the password.
#[test]
fn a_question_mark_in_a_password() {
    for (text, password) in [
        ("postgres://u:p?w@h:1/db", "p?w"),
        ("postgres://u:?@h:1/db?sslmode=require", "?"),
        ("postgres://u:a?sslmode=b&c@h:1/db?application_name=x@y", "a?sslmode=b&c"),
        ("postgres://u:a%3Fb@h:1/db?passfile=/a@b/c", "a?b"),
    ] {
        let dsn = Dsn::parse(text).unwrap();
        assert_eq!(dsn.config.get_user(), Some("u"), "{text}");
        assert_eq!(dsn.config.get_password(), Some(password.as_bytes()), "{text}");
        assert_eq!(dsn.location(), "postgres://h:1/db", "{text}");
    }
    let dsn = Dsn::parse("postgres://u:?@h/db?sslmode=require&application_name=x@y").unwrap();
    assert_eq!(dsn.verify, Verify::No);
    assert_eq!(dsn.config.get_ssl_mode(), SslMode::Require);
    assert_eq!(dsn.config.get_application_name(), Some("x@y"));
    // Without a user, too.
    let dsn = Dsn::parse("postgres://h/db?user=u&application_name=x@y&passfile=/a@b").unwrap();
    assert_eq!(dsn.location(), "postgres://h:5432/db");
    assert_eq!(dsn.config.get_application_name(), Some("x@y"));
    assert_eq!(dsn.passfile.as_deref(), Some(Path::new("/a@b")));
}

/// It would end up in the host's or the database's name, which errors show.
#[test]
fn what_is_not_encoded_and_looks_like_something_else_is_refused_unseen() {
    for text in [
        "postgres://u:barley@barn@h/db",
        "postgres://u:1@barley/barn@h/db",
        "postgres://u:12/barley@h/db",
        "postgres://h?password=bar@ley",
        "postgres://h?user=u&password=bar:barley@h",
        "postgres://u:12/barley?barn@h/db",
    ] {
        let error = Dsn::parse(text).unwrap_err().to_string();
        assert!(error.contains("percent-encoded"), "{text}: {error}");
        assert!(!error.contains("bar") && !error.contains("ley"), "{text}: {error}");
        let config = format!("{:?}", crate::PostgresConfig::new(text));
        assert!(!config.contains("bar") && !config.contains("ley"), "{text}: {config}");
    }
}

#[test]
fn modes() {
    let mode = |text: &str| {
        Dsn::parse(&format!("postgres://u@h/?{text}")).map(|d| (d.config.get_ssl_mode(), d.verify))
    };
    assert_eq!(mode("").unwrap(), (SslMode::Prefer, Verify::No));
    assert_eq!(mode("sslmode=disable").unwrap(), (SslMode::Disable, Verify::No));
    assert_eq!(mode("sslmode=require").unwrap(), (SslMode::Require, Verify::No));
    assert_eq!(
        mode("sslmode=require&sslrootcert=x").unwrap(),
        (SslMode::Require, Verify::Authority)
    );
    assert_eq!(mode("sslmode=verify-ca").unwrap(), (SslMode::Require, Verify::Authority));
    assert!(mode("sslmode=sometimes").unwrap_err().to_string().contains("verify-full"));
    assert!(mode("sslcert=x").is_err());
}

#[test]
fn the_password_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "# comment\nother:*:*:*:no\nh:5432:d\\:b:*:pa\\\\ss:word").unwrap();
    let url = |user: &str, database: &str| {
        format!("postgres://{user}h/{database}?passfile={}", file.path().display())
    };
    let password =
        |url: &str| Dsn::parse(url).unwrap().ways()[0].0.get_password().map(<[u8]>::to_vec);
    assert_eq!(password(&url("u@", "d:b")), Some(b"pa\\ss:word".to_vec()));
    assert_eq!(password(&url("u:own@", "d:b")), Some(b"own".to_vec()));
    assert_eq!(password(&url("u@", "other")), None);
}

#[test]
fn a_password_file_that_is_of_no_use_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let useless = |file: &Path| {
        let url = format!("postgres://u@h/d?passfile={}", file.display());
        let (config, useless) = Dsn::parse(&url).unwrap().ways().remove(0);
        assert_eq!(config.get_password(), None);
        useless.unwrap()
    };
    let file = dir.path().join("pass");
    assert!(useless(&file).contains("not used: No such file"), "{}", useless(&file));
    assert!(useless(dir.path()).contains("it is not a file"));
    std::fs::write(&file, "*:*:*:*:barley\n").unwrap();
    for mode in [0o640, 0o604] {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        let said = useless(&file);
        assert!(said.contains("chmod 600") && said.contains("/pass"), "{said}");
        assert!(!said.contains("barley"));
    }
}

#[test]
fn the_system_s_authorities_are_for_verify_full() {
    let dsn = |text: &str| Dsn::parse(&format!("postgres://u@h/d?sslrootcert=system{text}"));
    for text in ["", "&sslmode=verify-full"] {
        let dsn = dsn(text).unwrap();
        assert_eq!((dsn.config.get_ssl_mode(), dsn.verify), (SslMode::Require, Verify::Full));
        assert_eq!(dsn.root, None);
    }
    for mode in ["disable", "prefer", "require", "verify-ca"] {
        let error = dsn(&format!("&sslmode={mode}")).unwrap_err().to_string();
        assert!(error.contains("verify-full") && error.contains(mode), "{error}");
    }
}

#[test]
fn a_password_is_for_one_host() {
    use std::os::unix::fs::PermissionsExt as _;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o600)).unwrap();
    writeln!(file, "a:5432:*:*:of a\nb:7000:*:*:of b\nc:*:*:*:both\nd:*:*:*:both").unwrap();
    let ways = |hosts: &str| {
        let of = "target_session_attrs=read-write&options=-cx%3Dy&application_name=n";
        let url = format!("postgres://u@{hosts}/db?{of}&passfile={}", file.path().display());
        let ways = Dsn::parse(&url).unwrap().ways();
        let ways = ways.into_iter().map(|(config, useless)| {
            assert_eq!(useless, None);
            assert_eq!((config.get_user(), config.get_dbname()), (Some("u"), Some("db")));
            assert_eq!(config.get_application_name(), Some("n"));
            assert_eq!(config.get_options(), Some("-cx=y"));
            assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
            assert_eq!(config.get_keepalives_idle(), Duration::from_secs(15));
            let password = config.get_password().map(|p| String::from_utf8_lossy(p).into_owned());
            let hosts = config.get_hosts().iter().map(|host| format!("{host:?}"));
            (hosts.collect::<Vec<_>>().join(" "), config.get_ports().to_vec(), password)
        });
        ways.collect::<Vec<_>>()
    };
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        ways("a,b:7000,x"),
        [
            ("Tcp(\"a\")".to_owned(), vec![5432], some("of a")),
            ("Tcp(\"b\")".to_owned(), vec![7000], some("of b")),
            ("Tcp(\"x\")".to_owned(), vec![5432], None),
        ]
    );
    let together = ("Tcp(\"c\") Tcp(\"d\")".to_owned(), vec![5432, 5432], some("both"));
    assert_eq!(ways("c,d"), [together]);
    assert_eq!(
        Dsn::parse("postgres://u:own@a,b/d").unwrap().ways().len(),
        1,
        "one that is given is for all"
    );
}

#[test]
fn what_is_cut_in_silence_is_noticed_unless_the_address_says_otherwise() {
    let seconds = Duration::from_secs;
    let config = Dsn::parse("postgres://u@h/d").unwrap().config;
    assert!(config.get_keepalives());
    assert_eq!(config.get_keepalives_idle(), seconds(15));
    assert_eq!(config.get_keepalives_interval(), Some(seconds(5)));
    assert_eq!(config.get_keepalives_retries(), Some(3));
    assert_eq!(config.get_tcp_user_timeout(), Some(&seconds(30)));
    let own = "keepalives_idle=60&keepalives_interval=7&keepalives_retries=9&tcp_user_timeout=11";
    let config = Dsn::parse(&format!("postgres://u@h/d?{own}")).unwrap().config;
    assert_eq!(config.get_keepalives_idle(), seconds(60));
    assert_eq!(config.get_keepalives_interval(), Some(seconds(7)));
    assert_eq!(config.get_keepalives_retries(), Some(9));
    assert_eq!(config.get_tcp_user_timeout(), Some(&seconds(11)));
}
