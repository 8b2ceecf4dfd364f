//! Keys, as operators and users have them: made while the server runs, asked for by everybody, workers included, and
//! shown nowhere.

use crate::support::cli::{Answer, arguments, rollcall};
use crate::support::http;
use crate::support::programs::{assets, bare, program};
use crate::support::server::{Server, Setup};
use crate::support::truth::Truth;
use crate::support::{scratch, turn, until};
use rollcall_client::{ClientOptions, Error, Key, pb};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What `rollcalld ARGUMENTS --data DATA` prints on both streams.
fn rollcalld(data: &Path, arguments: &[&str]) -> (String, String) {
    let mut command = bare(program("rollcalld"));
    command.args(arguments).arg("--data").arg(data);
    let done = command.arg("--assets").arg(assets()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(done.stdout), text(done.stderr))
}

/// Makes a key and keeps it in a file; returns the key and the file.
fn make_key(data: &Path, arguments: &[&str], file: &Path) -> (String, PathBuf) {
    let all = [&["key", "create"], arguments].concat();
    let (key, said) = rollcalld(data, &all);
    assert!(key.starts_with("rk_"), "{key} {said}");
    std::fs::write(file, &key).unwrap();
    (key.trim().to_owned(), file.to_owned())
}

async fn with_key<const N: usize>(server: &Server, file: &Path, rest: [OsString; N]) -> Answer {
    let all = arguments!["--key-file", file].into_iter().chain(rest);
    rollcall(server, all).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_and_people_are_let_in_with_keys_alone() {
    let _turn = turn().await;
    let (folder, truth) = (scratch(), Truth::small());
    let data = folder.path().join("data");
    let server = Setup::new(&data).start().await;
    rollcall(&server, ["status"]).await.expect(0);
    let operator = folder.path().join("operator.key");
    let (key, operator) = make_key(&data, &["--role", "operator"], &operator);
    until("the key to be asked for", async || {
        let answer = rollcall(&server, ["status"]).await;
        (answer.code == 2 && answer.reason() == "KEY_MISSING").then_some(())
    })
    .await;
    let add = arguments!["source", "add", &truth.clip, "--wait"];
    let added = with_key(&server, &operator, add).await.expect(0).json();
    assert_eq!(added["state"].as_str(), Some("ended"), "{added}");
    let list = with_key(&server, &operator, arguments!["sightings", "--limit", "0"]).await;
    let seen = list.expect(0).json();
    assert!(!seen["sightings"].as_array().unwrap().is_empty(), "{seen}");
    let name = arguments!["identity", "rename", "1", "Ada"];
    let refused = with_key(&server, &operator, name).await;
    refused.expect_error("ROLE_INSUFFICIENT");
    // The library, whose watcher is let in too.
    let options = ClientOptions {
        key: Key::new(&key),
        ..ClientOptions::default()
    };
    let client = server.client_with(options).await;
    assert_eq!(client.status().await.unwrap().sources, 1);
    let mut watch = client.watch(Default::default()).await.unwrap();
    watch.next().await.unwrap();
    let stranger = server.client().await;
    let refused = stranger.watch(Default::default()).await.unwrap_err();
    assert_eq!(refused.reason(), "KEY_MISSING");
    let nothing = folder.path().join("empty.key");
    std::fs::write(&nothing, "\n").unwrap();
    let refused = with_key(&server, &nothing, arguments!["status"]).await;
    refused.expect_error("INVALID_KEY");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_shown_nowhere() {
    let _turn = turn().await;
    let folder = scratch();
    let data = folder.path().join("data");
    let admin = folder.path().join("admin.key");
    let (key, admin) = make_key(&data, &["--role", "admin", "--label", "desk"], &admin);
    let lasting = folder.path().join("reader.key");
    let (reader, lasting) = make_key(&data, &["--role", "reader"], &lasting);
    let mut server = Setup::new(&data).set("log.filter", "trace").start().await;
    let forged = format!("{}forgery", &key[..key.len() - 7]);
    let forger = folder.path().join("forged.key");
    std::fs::write(&forger, &forged).unwrap();
    let uri = "http://someone:hunter2-credential@127.0.0.1:9/x.mp4";
    let mut said = String::new();
    let mut told = |answer: Answer| said += &format!("{answer:?}\n");
    told(with_key(&server, &admin, arguments!["source", "add", uri]).await);
    told(with_key(&server, &admin, arguments!["source", "list"]).await);
    told(with_key(&server, &admin, arguments!["status"]).await);
    told(with_key(&server, &forger, arguments!["status"]).await);
    told(with_key(&server, &lasting, arguments!["source", "add", uri]).await);
    told(with_key(&server, &lasting, arguments!["source", "list"]).await);
    let options = ClientOptions {
        key: Key::new(&key),
        ..ClientOptions::default()
    };
    said += &format!("{options:?}\n");
    let client = server.client_with(options).await;
    said += &format!("{client:?}\n");
    let rule = pb::CreateAlertRuleRequest {
        name: "all".to_owned(),
        watches: Some(pb::create_alert_rule_request::Watches::Strangers(
            pb::WatchedStrangers::default(),
        )),
        webhook: Some(pb::AlertWebhook {
            url: "http://user:webhook-password@127.0.0.1:9/hook".to_owned(),
            secret: Some("webhook-seal-secret".to_owned()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let made: Result<_, Error> = client.create_alert_rule(rule).await;
    said += &format!("{:?}\n", made.unwrap());
    let rules = client.list_alert_rules(Default::default()).await.unwrap();
    said += &format!("{rules:?}\n");
    // On the page: signed in, and with what is no key.
    let page = server.http().to_owned();
    said += &http::get(&page, "/sign-in").await.unwrap().body;
    for path in ["/metrics", "/people", "/readyz"] {
        said += &http::get_with(&page, path, &key).await.unwrap().body;
        said += &http::get_with(&page, path, &forged).await.unwrap().body;
    }
    for command in [
        vec!["config", "show"],
        vec!["doctor"],
        vec!["key", "list"],
        vec!["key", "list", "--json"],
    ] {
        let (out, err) = rollcalld(&data, &command);
        said += &format!("{out}{err}");
    }
    said += &std::fs::read_to_string(data.join("keys.toml")).unwrap();
    assert_eq!(server.terminate().await, Some(0));
    let logged = server.logged();
    assert!(logged.contains("TRACE"), "the log is a full one");
    let random = |key: &str| key.splitn(3, '_').nth(2).unwrap()[..30].to_owned();
    for secret in [
        &random(&key),
        &random(&reader),
        "hunter2-credential",
        "webhook-password",
        "webhook-seal-secret",
    ] {
        for (place, text) in [("the replies", &said), ("the log", &logged)] {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret} is in {place}");
        }
    }
}
