//! A tenant's programs that follow its log over NATS by themselves, on the real server: they get their own events, and
//! nothing else is open to them.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::{Client, ConnectOptions, Event, jetstream};
use counterfoil_events::ids::TenantId;
use futures::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::support::installation::Installation;
use crate::support::served::Served;
use crate::support::world::World;

const PATIENCE: Duration = Duration::from_secs(60);
/// How long nothing must come before it is believed that nothing comes; a wrong message that is later still would be
/// missed, a slow machine fails nothing.
const QUIET: Duration = Duration::from_millis(500);

/// What the API gave out.
struct Credential(Value);

impl Credential {
    async fn issue(server: &Served, tenant: TenantId) -> Self {
        let path = format!("/v1/tenants/{tenant}/subscribers");
        Self(server.post(&path, &json!({"for_s": 3600})).await.good())
    }

    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap()
    }

    fn options(&self) -> ConnectOptions {
        let (user, password) = (self.text("user").to_owned(), self.text("password").to_owned());
        ConnectOptions::with_user_and_password(user, password).custom_inbox_prefix(self.text("inbox_prefix"))
    }
}

/// A program that has logged in, and what the server says of it.
struct Subscriber {
    client: Client,
    consumer: PullConsumer,
    complaints: mpsc::UnboundedReceiver<String>,
}

impl Subscriber {
    /// The process may be a moment behind its own log.
    async fn log_in(installation: &Installation, credential: &Credential) -> Self {
        let began = Instant::now();
        let (said, complaints) = mpsc::unbounded_channel();
        loop {
            let said = said.clone();
            let options = credential.options().event_callback(move |event| {
                if let Event::ServerError(error) = event {
                    let _ = said.send(error.to_string());
                }
                async {}
            });
            match options.connect(&installation.config.nats.url).await {
                Ok(client) => {
                    let context = jetstream::with_prefix(client.clone(), credential.text("api_prefix"));
                    let (consumer, stream) = (credential.text("consumer"), credential.text("stream"));
                    let consumer = context.get_consumer_from_stream(consumer, stream).await.unwrap();
                    return Self {
                        client,
                        consumer,
                        complaints,
                    };
                }
                Err(error) => assert!(began.elapsed() < PATIENCE, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The tenants of so many messages, each acknowledged.
    async fn fetch(&self, count: usize) -> Vec<String> {
        let mut messages = self.consumer.messages().await.unwrap();
        let mut tenants = Vec::new();
        while tenants.len() < count {
            let next = tokio::time::timeout(PATIENCE, messages.next()).await;
            let message = next.expect("it comes").unwrap().unwrap();
            message.ack().await.unwrap();
            let envelope: Value = serde_json::from_slice(&message.payload).unwrap();
            tenants.push(envelope["tenant"].as_str().unwrap().to_owned());
        }
        tenants
    }

    /// The server complains of just this.
    async fn is_refused(&mut self, what: &str) {
        self.client.flush().await.unwrap();
        let said = tokio::time::timeout(PATIENCE, self.complaints.recv()).await;
        let said = said.unwrap_or_else(|_| panic!("{what}: no complaint")).unwrap();
        assert!(
            said.to_lowercase().contains("permissions violation"),
            "{what}: {said}"
        );
    }

    async fn publish(&mut self, subject: &str, payload: &str) {
        self.client
            .publish(subject.to_owned(), payload.to_owned().into())
            .await
            .unwrap();
        self.is_refused(subject).await;
    }
}

async fn grown(server: &Served, world: &World) -> usize {
    let listed = server.get(&world.path("/events?limit=500")).await.good();
    listed["items"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_program_follows_its_own_events_and_everything_else_is_refused_to_it() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let (a, b) = (
        World::new(&server, &["demo"]).await,
        World::new(&server, &["demo"]).await,
    );
    let (of_a, of_b) = (
        Credential::issue(&server, a.tenant).await,
        Credential::issue(&server, b.tenant).await,
    );
    let mut subscriber = Subscriber::log_in(&installation, &of_a).await;
    let _other = Subscriber::log_in(&installation, &of_b).await;
    let count = grown(&server, &a).await;
    for tenant in subscriber.fetch(count).await {
        assert_eq!(tenant, a.tenant.to_string());
    }
    // What comes later comes to it as well.
    a.register_agent(&server, "later", &["demo"]).await;
    assert_eq!(subscriber.fetch(1).await, [a.tenant.to_string()]);

    let prefix = installation.config.nats.prefix.clone();
    let stream = of_a.text("stream").to_owned();
    let (own, others) = (of_a.text("consumer").to_owned(), of_b.text("consumer").to_owned());
    // To publish: into its own subject, B's, the hints of the platform.
    for subject in [
        format!("{prefix}.events.0.{}.agent", a.tenant),
        format!("{prefix}.events.0.{}.agent", b.tenant),
        format!("{prefix}.wake.0"),
        format!("{}.x", of_b.text("inbox_prefix")),
        "$SYS.REQ.SERVER.PING".to_owned(),
        "$SYS.REQ.USER.AUTH".to_owned(),
    ] {
        subscriber.publish(&subject, "{}").await;
    }
    // JetStream's own commands: no other consumer, nothing about streams.
    let wider = json!({"stream_name": stream, "config": {"durable_name": own, "filter_subject": format!("{prefix}.events.>"), "ack_policy": "none"}}).to_string();
    for (command, payload) in [
        (format!("CONSUMER.CREATE.{stream}"), wider.as_str()),
        (format!("CONSUMER.CREATE.{stream}.{own}"), &wider),
        (
            format!("CONSUMER.CREATE.{stream}.{own}.{prefix}.events.>"),
            &wider,
        ),
        (format!("CONSUMER.DURABLE.CREATE.{stream}.{own}"), &wider),
        (format!("CONSUMER.DELETE.{stream}.{own}"), ""),
        (format!("CONSUMER.MSG.NEXT.{stream}.{others}"), ""),
        (format!("CONSUMER.INFO.{stream}.{others}"), ""),
        (format!("CONSUMER.LIST.{stream}"), ""),
        (format!("STREAM.PURGE.{stream}"), ""),
        (format!("STREAM.DELETE.{stream}"), ""),
        (format!("STREAM.MSG.GET.{stream}"), r#"{"seq":1}"#),
        (format!("DIRECT.GET.{stream}"), r#"{"seq":1}"#),
        (format!("STREAM.INFO.{stream}"), ""),
        ("STREAM.LIST".to_owned(), ""),
        ("INFO".to_owned(), ""),
    ] {
        for api in ["$JS.API", of_a.text("api_prefix")] {
            subscriber.publish(&format!("{api}.{command}"), payload).await;
        }
    }
    // To subscribe: everything, B's events, another's inbox, what the system says.
    for subject in [
        ">".to_owned(),
        format!("{prefix}.events.0.{}.>", b.tenant),
        format!("{prefix}.events.0.{}.>", a.tenant),
        format!("{}.>", of_b.text("inbox_prefix")),
        "_INBOX.>".to_owned(),
        "$SYS.>".to_owned(),
        "$JS.>".to_owned(),
    ] {
        let _refused = subscriber.client.subscribe(subject.clone()).await.unwrap();
        subscriber.is_refused(&subject).await;
    }
    // An answer that is to go to where B's events are: it comes back to the asker's account alone, or nowhere.
    let before = grown(&server, &b).await;
    let into_b = format!("{prefix}.events.0.{}.agent", b.tenant);
    a.register_agent(&server, "bait", &["demo"]).await;
    let api = of_a.text("api_prefix");
    let fetch = format!("{api}.CONSUMER.MSG.NEXT.{stream}.{own}");
    subscriber
        .client
        .publish_with_reply(fetch, into_b, r#"{"batch":1,"expires":1000000000}"#.into())
        .await
        .unwrap();
    subscriber.client.flush().await.unwrap();
    tokio::time::sleep(QUIET).await;
    b.register_agent(&server, "honest", &["demo"]).await;
    assert_eq!(grown(&server, &b).await, before + 1);
    installation.good(&["audit", "verify"]).await;
    installation.good(&["audit", "reconcile"]).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_credential_and_one_of_a_suspended_tenant_fetch_nothing_and_log_in_no_more() {
    let installation = Installation::new().await;
    let server = installation.serve().await;
    let (a, b) = (
        World::new(&server, &["demo"]).await,
        World::new(&server, &["demo"]).await,
    );
    let (revoked, suspended) = (
        Credential::issue(&server, a.tenant).await,
        Credential::issue(&server, b.tenant).await,
    );
    let subscriber = Subscriber::log_in(&installation, &revoked).await;
    let stopped = Subscriber::log_in(&installation, &suspended).await;
    let why = json!({"reason": "leaked"});
    let path = a.path(&format!("/subscribers/{}/revoke", revoked.text("credential_id")));
    server.post(&path, &why).await.good();
    // Still connected, and with nothing to fetch from.
    let (consumer, stream) = (revoked.text("consumer"), revoked.text("stream"));
    let context = jetstream::with_prefix(subscriber.client.clone(), revoked.text("api_prefix"));
    let gone = context
        .get_consumer_from_stream::<jetstream::consumer::pull::Config, _, _>(consumer, stream)
        .await;
    assert!(gone.is_err(), "{gone:?}");
    server.post(&b.path("/suspend"), &why).await.good();
    // Nor has who is connected when everything stops; and a consumer that is made again all the same goes again.
    let backbone = installation.backbone().await;
    for round in 0..2 {
        let (consumer, stream) = (suspended.text("consumer"), suspended.text("stream"));
        let context = jetstream::with_prefix(stopped.client.clone(), suspended.text("api_prefix"));
        let began = Instant::now();
        while context
            .get_consumer_from_stream::<jetstream::consumer::pull::Config, _, _>(consumer, stream)
            .await
            .is_ok()
        {
            assert!(began.elapsed() < PATIENCE, "round {round}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let again = jetstream::consumer::pull::Config {
            durable_name: Some(consumer.to_owned()),
            ..Default::default()
        };
        backbone
            .context()
            .create_consumer_on_stream(again, stream)
            .await
            .unwrap();
    }
    let mut wrong = Credential(suspended.0.clone());
    wrong.0["password"] = revoked.0["password"].clone();
    for (what, credential) in [
        ("revoked", &revoked),
        ("suspended", &suspended),
        ("wrong", &wrong),
    ] {
        let began = Instant::now();
        while credential
            .options()
            .connect(&installation.config.nats.url)
            .await
            .is_ok()
        {
            assert!(began.elapsed() < PATIENCE, "{what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // The whole of it is on the log.
    let log = server.get(&a.path("/events?limit=500")).await.good();
    let types: Vec<_> = log["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["type"].clone())
        .collect();
    for expected in ["SubscriberCredentialIssued", "SubscriberCredentialRevoked"] {
        assert!(types.contains(&json!(expected)), "{types:?}");
    }
    server.stop().await;
}
