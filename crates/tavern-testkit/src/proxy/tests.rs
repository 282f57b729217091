use std::io::ErrorKind;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::{Conditions, Proxy, Side};
use crate::wait::{eventually, within};

/// A proxy, and both ends of a connection through it.
async fn pair() -> (Proxy, TcpStream, TcpStream) {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::to(server.local_addr().unwrap().port()).await.unwrap();
    let client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    let (server, _) = within("the connection", server.accept()).await.unwrap();
    (proxy, client, server)
}

async fn passes(from: &mut TcpStream, to: &mut TcpStream, text: &str) {
    from.write_all(text.as_bytes()).await.unwrap();
    let mut got = vec![0; text.len()];
    within("it arrives", to.read_exact(&mut got)).await.unwrap();
    assert_eq!(got, text.as_bytes());
}

/// What a read of a connection that ends says.
async fn ended(stream: &mut TcpStream) -> Result<usize, ErrorKind> {
    within("the end", stream.read(&mut [0; 16])).await.map_err(|error| error.kind())
}

/// Nothing comes for as long as the network of this machine can need many times over.
async fn nothing(stream: &mut TcpStream) {
    let read = tokio::time::timeout(Duration::from_millis(150), stream.read(&mut [0; 16])).await;
    assert!(read.is_err(), "{read:?}");
}

#[tokio::test]
async fn what_goes_in_comes_out_and_an_end_is_an_end() {
    let (proxy, mut client, mut server) = pair().await;
    let all = (0..1 << 20).map(|n: u32| n.to_le_bytes()[1]).collect::<Vec<u8>>();
    let mut got = vec![0; all.len()];
    let (sent, read) = within("all of it", async {
        tokio::join!(client.write_all(&all), server.read_exact(&mut got))
    })
    .await;
    sent.unwrap();
    read.unwrap();
    assert!(got == all);
    assert_eq!((proxy.carried(), proxy.links().len()), (1, 1));
    // Half an end: the other way goes on.
    client.shutdown().await.unwrap();
    assert_eq!(ended(&mut server).await, Ok(0));
    passes(&mut server, &mut client, "still").await;
    drop(server);
    assert_eq!(ended(&mut client).await, Ok(0));
    eventually("it is off the list", || proxy.links().is_empty()).await;
}

#[tokio::test]
async fn a_delay_delays_and_lets_many_be_on_their_way() {
    let (proxy, mut client, mut server) = pair().await;
    let delay = Duration::from_millis(200);
    proxy.set(Conditions::delayed(delay));
    let begun = Instant::now();
    for _ in 0..10 {
        client.write_all(b"0123456789").await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    within("all of it", server.read_exact(&mut [0; 100])).await.unwrap();
    assert!(begun.elapsed() >= delay, "{:?}", begun.elapsed());
    assert!(begun.elapsed() < 5 * delay, "not one after the other: {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_throttle_lets_through_so_much_in_a_second() {
    let (proxy, mut client, mut server) = pair().await;
    proxy.set(Conditions::throttled(10_000));
    let begun = Instant::now();
    client.write_all(&[7; 5_000]).await.unwrap();
    within("all of it", server.read_exact(&mut vec![0; 5_000])).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(450), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn what_is_held_arrives_when_it_is_let_go() {
    let (proxy, mut client, mut server) = pair().await;
    proxy.set(Conditions::held());
    client.write_all(b"one").await.unwrap();
    server.write_all(b"two").await.unwrap();
    nothing(&mut server).await;
    nothing(&mut client).await;
    proxy.heal();
    within("one", server.read_exact(&mut [0; 3])).await.unwrap();
    within("two", client.read_exact(&mut [0; 3])).await.unwrap();
}

#[tokio::test]
async fn a_black_hole_takes_all_and_what_lost_bytes_is_reset_in_the_end() {
    let (proxy, mut client, mut server) = pair().await;
    proxy.set(Conditions::black_hole());
    client.write_all(b"gone").await.unwrap();
    nothing(&mut server).await;
    // Its end vanishes, too.
    drop(client);
    nothing(&mut server).await;
    proxy.heal();
    assert_eq!(ended(&mut server).await, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_black_hole_in_which_nothing_fell_does_no_harm() {
    let (proxy, mut client, mut server) = pair().await;
    proxy.set(Conditions::black_hole());
    proxy.heal();
    passes(&mut client, &mut server, "well").await;
}

#[tokio::test]
async fn one_way_of_one_connection_can_be_deaf() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::to(listener.local_addr().unwrap().port()).await.unwrap();
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    let (mut server, _) = listener.accept().await.unwrap();
    let mut other = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    let (mut others, _) = listener.accept().await.unwrap();
    passes(&mut client, &mut server, "SUBSCRIBE a").await;
    let feeds = proxy.links().into_iter().filter(|link| link.said("SUBSCRIBE"));
    let [feed] = feeds.collect::<Vec<_>>().try_into().unwrap();
    assert!(!feed.said("PUBLISH"));
    feed.set(Conditions::deaf(Side::Client));
    passes(&mut client, &mut server, "heard").await;
    server.write_all(b"unheard").await.unwrap();
    nothing(&mut client).await;
    passes(&mut others, &mut other, "none of its business").await;
    feed.set(Conditions::default());
    assert_eq!(ended(&mut client).await, Err(ErrorKind::ConnectionReset));
    passes(&mut others, &mut other, "nor this").await;
}

#[tokio::test]
async fn a_cut_ends_both_ends_and_a_reset_is_an_error_at_both() {
    let (proxy, mut client, mut server) = pair().await;
    proxy.cut();
    assert_eq!((ended(&mut client).await, ended(&mut server).await), (Ok(0), Ok(0)));

    let (proxy, mut client, mut server) = pair().await;
    proxy.reset();
    let reset = Err(ErrorKind::ConnectionReset);
    assert_eq!((ended(&mut client).await, ended(&mut server).await), (reset, reset));
}

#[tokio::test]
async fn of_a_half_open_connection_one_end_is_not_told() {
    let (proxy, mut client, mut server) = pair().await;
    proxy.half_open(Side::Server);
    assert_eq!(ended(&mut server).await, Ok(0));
    client.write_all(b"to nobody").await.unwrap();
    nothing(&mut client).await;
    proxy.heal();
    assert_eq!(ended(&mut client).await, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_slow_close_is_heard_late() {
    let (proxy, client, mut server) = pair().await;
    let late = Duration::from_millis(300);
    proxy.set(Conditions::slow_close(late));
    let begun = Instant::now();
    drop(client);
    assert_eq!(ended(&mut server).await, Ok(0));
    assert!(begun.elapsed() >= late, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn new_connections_are_like_the_others_and_lead_where_it_was_turned_to() {
    let (proxy, mut client, _server) = pair().await;
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    proxy.turn_to(other.local_addr().unwrap().port());
    assert_eq!(ended(&mut client).await, Ok(0));
    proxy.set(Conditions::black_hole());
    let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).await.unwrap();
    let (mut server, _) = within("it is led there", other.accept()).await.unwrap();
    client.write_all(b"gone").await.unwrap();
    nothing(&mut server).await;
}
