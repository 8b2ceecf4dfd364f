//! A client that others wrote: Python's grpcio, by way of reflection.

use crate::support::facts::Facts;
use crate::support::programs::{assets, bare};
use crate::support::server::Setup;
use crate::support::truth::Truth;
use crate::support::{in_time, prepared, scratch, turn};
use serde_json::Value;
use std::path::Path;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_python_client_finds_its_way_by_reflection() {
    let _turn = turn().await;
    let (folder, truth) = (scratch(), Truth::small());
    let data = prepared::collection(folder.path()).await;
    let facts = Facts::read(&data.join("log"));
    let server = Setup::new(&data).start().await;
    let packages = assets().join("py");
    assert!(
        packages.join("grpc").is_dir(),
        "{} is missing: run `make setup`",
        packages.display()
    );
    let (person, picture) = &truth.held_out[0];
    let mut command = bare("python3");
    command
        .arg("-B")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python/client.py"));
    command
        .arg(server.grpc())
        .arg(picture)
        .env("PYTHONPATH", packages);
    let mut command = tokio::process::Command::from(command);
    let output = in_time("the Python client", command.kill_on_drop(true).output())
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();

    assert_services(&found);
    // 64-bit numbers are text in protobuf's JSON.
    let search = &found["search"];
    assert_eq!(search["verdict"], "VERDICT_FOUND", "{search}");
    let identity: u64 = search["hits"][0]["identity"]["id"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let labels = truth.label(facts.tracks.values());
    let track = facts
        .tracks
        .values()
        .find(|track| track.identity == identity)
        .unwrap();
    assert_eq!(labels[&track.id], person);
    assert_pages_and_errors(&found);
}

fn assert_services(found: &Value) {
    let listed = |of: &str| {
        let names = found[of]
            .as_array()
            .unwrap()
            .iter()
            .map(|name| name.as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    for service in [
        "Search", "Identity", "Source", "Sighting", "Watch", "Ingest", "Admin",
    ] {
        let name = format!("rollcall.v1.{service}Service");
        assert!(
            listed("v1").contains(&name) && listed("v1alpha").contains(&name),
            "{name}: {found}"
        );
    }
    assert!(
        listed("v1").contains(&"grpc.health.v1.Health".to_owned()),
        "{found}"
    );
    let health = found["health"].as_object().unwrap();
    assert!(
        health.len() == 3 && health.values().all(|state| state == "SERVING"),
        "{health:?}"
    );
}

fn assert_pages_and_errors(found: &Value) {
    let identities = &found["identities"];
    assert_eq!(
        identities["identities"].as_array().unwrap().len(),
        2,
        "{identities}"
    );
    assert!(
        !identities["next_page_token"].as_str().unwrap().is_empty(),
        "{identities}"
    );
    let refused = &found["refused"];
    assert_eq!(refused["code"], "NOT_FOUND", "{refused}");
    assert!(
        refused["details"]
            .as_str()
            .unwrap()
            .contains("IDENTITY_NOT_FOUND"),
        "{refused}"
    );
}
