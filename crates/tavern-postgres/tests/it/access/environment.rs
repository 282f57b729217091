//! Passwords from files that the environment names: that of a process of its own.

use std::process::Command;

use tavern_backend::Bus;
use tavern_postgres::{PostgresBackend, PostgresConfig};
use tavern_testkit::engine::{PostgresAuth, PostgresOptions};

use super::write_pass_file;
use crate::kit::quick;
use crate::stand::{Stand, store};

/// Says in a process that is started for it what to open.
const URL: &str = "TAVERN_TEST_URL";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_password_comes_from_the_files_that_the_environment_names() {
    if let Ok(url) = std::env::var(URL) {
        let error = match PostgresBackend::open(quick(PostgresConfig::new(url))).await {
            Ok(node) => {
                let bus = Bus::new(node);
                store(&bus, tavern_testkit::say::message("t", "it works")).await;
                return bus.close().await.unwrap();
            }
            Err(error) => error,
        };
        panic!("refused: {error}");
    }
    let stand = Stand::start_with(PostgresOptions::new().with_auth(PostgresAuth::Scram)).await;
    stand.server.create_role("anna", "pass word").await.unwrap();
    stand.psql("GRANT CREATE ON DATABASE postgres TO anna").await;
    let url = stand.server.url("anna", "postgres");
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [home, elsewhere] = [dirs[0].path(), dirs[1].path()];
    let [of_home, named] = [home.join(".pgpass"), elsewhere.join("named")];
    let opens = async |set: &[(&str, &std::path::Path)]| {
        let mut child = Command::new(std::env::current_exe().unwrap());
        let test =
            "access::environment::a_password_comes_from_the_files_that_the_environment_names";
        child.args([test, "--exact", "--nocapture"]).env(URL, &url).env("RUST_BACKTRACE", "0");
        child.env_remove("PGPASSFILE").env("HOME", elsewhere).envs(set.iter().copied());
        let output = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let said = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("running 1 test"), "{said}");
        if output.status.success() { Ok(()) } else { Err(said) }
    };
    let right = format!("127.0.0.1:{}:postgres:anna:pass word\n", stand.server.port());
    let wrong = "*:*:*:*:barley\n";
    let (by_home, by_name) = (("HOME", home), ("PGPASSFILE", named.as_path()));

    let said = opens(&[by_home]).await.unwrap_err();
    assert!(said.contains("password missing") && !said.contains("password file"), "{said}");
    write_pass_file(&of_home, &right, 0o600);
    opens(&[by_home]).await.unwrap();
    // What is named comes first, even if it is of no use.
    let said = opens(&[by_home, by_name]).await.unwrap_err();
    assert!(said.contains("named is not used: No such file"), "{said}");
    write_pass_file(&named, wrong, 0o600);
    let said = opens(&[by_home, by_name]).await.unwrap_err();
    assert!(said.contains("refuses the user or the password"), "{said}");
    assert!(!said.contains("barley"), "{said}");
    write_pass_file(&named, &right, 0o600);
    opens(&[by_name]).await.unwrap();
    // Others may read them.
    for mode in [0o644, 0o660] {
        write_pass_file(&of_home, &right, mode);
        let said = opens(&[by_home]).await.unwrap_err();
        assert!(said.contains(".pgpass is not used") && said.contains("chmod 600"), "{said}");
        write_pass_file(&named, &right, mode);
        let said = opens(&[by_name]).await.unwrap_err();
        assert!(said.contains("named is not used") && said.contains("chmod 600"), "{said}");
    }
}
