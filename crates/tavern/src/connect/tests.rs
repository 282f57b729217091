use super::*;

async fn refused(url: &str) -> String {
    connect(url).await.expect_err(url).to_string()
}

#[tokio::test]
async fn an_unknown_scheme_is_answered_with_those_compiled_in() {
    for url in ["redis://:hunter2@host:6379/0", "tavern.db", "hunter2@host:1", ""] {
        let error = refused(url).await;
        assert!(error.contains("`memory:`"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
    assert!(refused("redis://host").await.contains("`redis:`"));
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
