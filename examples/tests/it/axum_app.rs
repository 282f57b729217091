//! `axum_app`: two processes of it share their orders.

use serde_json::json;

use tavern_testkit::wait::within;

use crate::process::Server;

/// Orders a dish and returns the answer.
async fn order(server: &Server, number: u32, dish: &str) -> String {
    let body = json!({ "number": number, "dish": dish });
    let request = reqwest::Client::new().post(server.url("/orders")).json(&body);
    let response = within("an answer", request.send()).await.unwrap();
    assert_eq!(response.status(), 200);
    response.text().await.unwrap()
}

#[tokio::test]
async fn an_order_placed_on_one_process_arrives_on_the_other_and_can_be_resumed_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let a = Server::start("axum_app", dir.path()).await;
    let b = Server::start("axum_app", dir.path()).await;
    let (page, content_type) = b.get("/").await;
    assert!(content_type.starts_with("text/html"), "{content_type}");
    assert!(page.contains("new EventSource('/events?topic=orders/*&start=oldest')"), "{page}");

    let mut on_b = b.stream("topic=orders/*", "").await;
    assert_eq!(on_b.next().await.name, "tavern-cursor");
    let stored = order(&a, 7, "soup").await;
    let soup = on_b.next().await;
    assert_eq!((soup.name.as_str(), soup.data.as_str()), ("placed", "soup"));
    let id = soup.id.unwrap();
    assert_eq!(stored, format!("stored at {id}"));

    drop(on_b);
    order(&b, 8, "wine").await;
    let mut on_a = a.stream("topic=orders/*", &id).await;
    let wine = on_a.next().await;
    assert_eq!((wine.name.as_str(), wine.data.as_str()), ("placed", "wine"));
    let end = on_a.next().await;
    assert_eq!(end.name, "tavern-reconnected");
    assert!(end.data.contains(r#""complete":true"#), "{}", end.data);

    // What a person sees who opens the page now.
    let mut page = a.stream("topic=orders/*&start=oldest", "").await;
    assert_eq!(page.next().await.data, "soup");
    assert_eq!(page.next().await.data, "wine");
}

#[tokio::test]
async fn ctrl_c_ends_it_and_its_open_streams() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start("axum_app", dir.path()).await;
    let mut stream = server.stream("topic=orders/*", "").await;
    assert_eq!(stream.next().await.name, "tavern-cursor");
    server.interrupt().await;
    stream.end().await;
}

#[tokio::test]
async fn what_is_not_the_applications_to_offer_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start("axum_app", dir.path()).await;
    let request = reqwest::Client::new().post(server.url("/topics/orders/7")).body("free soup");
    let response = within("an answer", request.send()).await.unwrap();
    assert_eq!(response.status(), 404);
}
