//! A receiver of Shared Signals on easyssf-receiver. CONFIG is its configuration in JSON, PORT the
//! port of its push endpoint. It looks its stream up, asks for a verification, and prints a line in
//! JSON for each event.

use std::env;
use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use easyssf_receiver::SsfReceiver;
use easyssf_receiver::event::SsfEventContext;
use serde_json::json;
use tokio::net::TcpListener;

const RETRY_INTERVAL: Duration = Duration::from_millis(100);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let config = serde_json::from_str(&env::var("CONFIG")?)?;
    let receiver = SsfReceiver::builder(config)
        .handler(|context: SsfEventContext| async move {
            let event = json!({
                "events": context.event_types(),
                "session": context.subject().session_id(),
                "jti": context.event_token().jti(),
                "delivery": format!("{:?}", context.delivery_method()),
            });
            println!("{event}");
            Ok(())
        })
        .build()?;

    let handler = receiver.push_handler();
    let push = post(move |headers: HeaderMap, body: Bytes| async move {
        let authorization = headers.get("authorization");
        let authorization = authorization.and_then(|value| value.to_str().ok());
        let response = handler.handle(authorization, &body).await;
        let status = StatusCode::from_u16(response.status).unwrap_or_default();
        (status, response.body.unwrap_or_default())
    });
    let router = Router::new().route(receiver.push_endpoint_path(), push);
    let listener = TcpListener::bind(format!("127.0.0.1:{}", env::var("PORT")?)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, router).await });

    receiver.start();
    let transmitter = &receiver.transmitters().all()[0];
    let client = transmitter.stream_client().ok_or("no stream client")?;
    let stream = loop {
        match transmitter.receiver_stream().stream_id() {
            Some(stream) => break stream,
            None => tokio::time::sleep(RETRY_INTERVAL).await,
        }
    };
    let status = client.status(&stream).await?;
    println!("{}", json!({"stream": stream, "status": status.status}));
    let verification = transmitter.stream_verification();
    verification.request_verification(client, &stream).await?;
    while verification.is_pending() {
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
    println!("{}", json!({"verified": true}));
    std::future::pending().await
}
