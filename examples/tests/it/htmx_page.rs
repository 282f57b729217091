//! `htmx_page`: no note is lost between the page and its stream, and none is in both.

use tavern_testkit::wait::within;

use crate::process::Server;

async fn add(server: &Server, text: &str) {
    let form = format!("text={text}");
    let request = reqwest::Client::new()
        .post(server.url("/notes"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form);
    let response = within("an answer", request.send()).await.unwrap();
    assert_eq!(response.status(), 204);
}

/// The address of the page's stream, without its path.
fn stream_of(page: &str) -> String {
    let (_, rest) = page.split_once(r#"sse-connect="/events?"#).expect("the page has a stream");
    let (query, _) = rest.split_once('"').unwrap();
    query.replace("&amp;", "&")
}

#[tokio::test]
async fn the_page_and_its_stream_join_without_a_seam() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start("htmx_page", dir.path()).await;
    add(&server, "first").await;
    let (page, content_type) = server.get("/").await;
    assert!(content_type.starts_with("text/html"), "{content_type}");
    assert!(page.contains("<li>first</li>"), "{page}");

    // Added after the page was rendered, and before its stream is opened.
    add(&server, "%3Cb%3Esecond%3C%2Fb%3E").await;
    let mut stream = server.stream(&stream_of(&page), "").await;
    let note = stream.next().await;
    assert_eq!(note.name, "note");
    assert_eq!(note.data, "<li>&#60;b&#62;second&#60;/b&#62;</li>");
    assert_eq!(stream.next().await.name, "tavern-reconnected");

    add(&server, "third").await;
    assert_eq!(stream.next().await.data, "<li>third</li>");

    let (later, _) = server.get("/").await;
    for note in ["first", "&#60;b&#62;second", "third"] {
        assert_eq!(later.matches(note).count(), 1, "{note} in {later}");
    }
    server.interrupt().await;
    stream.end().await;
}

#[tokio::test]
async fn its_scripts_come_from_itself() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start("htmx_page", dir.path()).await;
    let (page, _) = server.get("/").await;
    assert!(!page.contains("src=\"http"), "{page}");
    for (path, says) in [("/htmx.js", "var htmx="), ("/sse.js", "sse-connect")] {
        let (script, content_type) = server.get(path).await;
        assert!(content_type.starts_with("text/javascript"), "{path}: {content_type}");
        assert!(script.contains(says), "{path} is another script");
    }
}
