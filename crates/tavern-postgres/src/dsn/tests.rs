use std::io::Write as _;

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
        |url: &str| Dsn::parse(url).unwrap().with_password().get_password().map(<[u8]>::to_vec);
    assert_eq!(password(&url("u@", "d:b")), Some(b"pa\\ss:word".to_vec()));
    assert_eq!(password(&url("u:own@", "d:b")), Some(b"own".to_vec()));
    assert_eq!(password(&url("u@", "other")), None);
}
