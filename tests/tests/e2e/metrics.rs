//! Metrics and health.

use crate::support::cli::{arguments, rollcall};
use crate::support::media::LiveStream;
use crate::support::server::{Server, Setup, signal};
use crate::support::truth::Truth;
use crate::support::{http, in_time, scratch, turn, until};
use rollcall_client::pb;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// Every metric of ours that a text names, and whether it stands there as a part of a histogram.
fn names_in(text: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !word(c))
        .filter(|name| name.starts_with("rollcall_") && name.len() > "rollcall_".len())
        .map(|name| {
            let parts = ["_bucket", "_sum", "_count"];
            parts
                .iter()
                .find_map(|part| name.strip_suffix(part))
                .unwrap_or(name)
                .to_owned()
        })
        .collect()
}

fn dashboards() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/grafana/dashboards");
    let files = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .collect()
}

async fn metrics(server: &Server) -> String {
    let answer = http::get(server.http(), "/metrics").await.unwrap();
    assert_eq!(answer.code, 200);
    answer.body
}

/// The value of a series, given as it stands in the text.
fn value(metrics: &str, series: &str) -> f64 {
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {series} in:\n{metrics}"))
        .trim()
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_metric_of_the_dashboards_and_the_manual_is_exported() {
    let _turn = turn().await;
    let (folder, truth) = (scratch(), Truth::small());
    let server = Setup::new(&folder.path().join("data")).start().await;
    let added = arguments!["source", "add", &truth.clip, "--realtime", "--wait"];
    rollcall(&server, added).await.expect(0);
    rollcall(&server, arguments!["search", &truth.held_out[0].1])
        .await
        .expect(0);
    let client = server.client().await;
    let request = pb::SearchEmbeddingRequest {
        embedding: vec![1.0; 512],
        ..Default::default()
    };
    client.search_embedding(request).await.unwrap();

    let page = http::get(server.http(), "/").await.unwrap();
    assert_eq!(page.code, 200);
    assert_right(&metrics(&server).await, &client.status().await.unwrap());
    // A live source has its lag, for as long as it is read.
    let live = LiveStream::start(&truth.clip);
    let added = rollcall(&server, ["source", "add", &live.uri]).await;
    let id = added.expect(0).json()["id"].as_u64().unwrap();
    let lag = async || {
        let text = metrics(&server).await;
        text.contains("rollcall_source_lag_seconds{")
            .then_some(text)
    };
    let text = until("a lag of the live source", lag).await;
    // A worker that the machine's other work has held up may have begun again since.
    let running = async || {
        let source = client.source(id).await.unwrap();
        (source.state() == pb::SourceState::Running && source.lag.is_some()).then_some(source)
    };
    let source = until("the live source to be read", running).await;
    assert!(source.lag.is_some_and(|lag| lag.seconds < 5), "{source:?}");
    let exported: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_whitespace().next())
        .map(str::to_owned)
        .collect();
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus/alerts.yml");
    let texts = dashboards();
    assert_eq!(
        texts.len(),
        5,
        "overview, ingest, search, index, identities"
    );
    for path in texts.iter().chain([&manual, &rules]) {
        let named = names_in(&std::fs::read_to_string(path).unwrap());
        assert!(named.len() > 5, "{}: {named:?}", path.display());
        let missing: Vec<_> = named.difference(&exported).collect();
        assert!(
            missing.is_empty(),
            "{} names {missing:?}, which are not exported",
            path.display()
        );
    }
    let undocumented = names_in(&std::fs::read_to_string(&manual).unwrap());
    let ours = exported.iter().filter(|name| name.starts_with("rollcall_"));
    let undocumented: Vec<_> = ours.filter(|name| !undocumented.contains(*name)).collect();
    assert!(
        undocumented.is_empty(),
        "docs/metrics.md lacks {undocumented:?}"
    );
    rollcall(&server, ["source", "stop", &id.to_string()])
        .await
        .expect(0);
}

/// Some of the values must be what the API says.
fn assert_right(text: &str, status: &pb::Status) {
    let as_number = |count: u64| count as f64;
    assert_eq!(
        value(text, "rollcall_index_faces"),
        as_number(status.exemplars)
    );
    assert_eq!(
        value(text, "rollcall_index_identities"),
        as_number(status.identities)
    );
    assert_eq!(
        value(text, "rollcall_log_durable_sequence"),
        as_number(status.durable_sequence)
    );
    assert_eq!(
        value(text, "rollcall_source_tracks_total{source=\"1\"}"),
        as_number(status.tracks)
    );
    assert_eq!(value(text, "rollcall_source_up{source=\"1\"}"), 0.0);
    assert_eq!(value(text, "rollcall_writer_read_only"), 0.0);
    assert_eq!(
        value(
            text,
            "rollcall_search_duration_seconds_count{kind=\"image\"}"
        ),
        1.0
    );
    assert_eq!(
        value(
            text,
            "rollcall_search_duration_seconds_count{kind=\"embedding\"}"
        ),
        1.0
    );
    assert!(value(text, "rollcall_index_lag_seconds_count") > 0.0);
    assert!(value(text, "rollcall_decisions_total{kind=\"new\"}") >= 3.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_told_to_who_asks_and_who_watches() {
    let _turn = turn().await;
    let folder = scratch();
    let mut server = Setup::new(&folder.path().join("data")).start().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(
            http::get(server.http(), path).await.unwrap().code,
            200,
            "{path}"
        );
    }
    assert_eq!(
        http::get(server.http(), "/nothing").await.unwrap().code,
        404
    );
    let endpoint = format!("http://{}", server.grpc());
    let channel = tonic::transport::Channel::from_shared(endpoint)
        .unwrap()
        .connect()
        .await
        .unwrap();
    let mut client = HealthClient::new(channel);
    let search = "rollcall.v1.SearchService";
    for service in [
        "",
        search,
        "rollcall.v1.WatchService",
        "rollcall.v1.IngestService",
    ] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = client.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let unknown = HealthCheckRequest {
        service: "rollcall.v1.NoService".to_owned(),
    };
    assert_eq!(
        client.check(unknown).await.unwrap_err().code(),
        tonic::Code::NotFound
    );
    let request = HealthCheckRequest {
        service: search.to_owned(),
    };
    let mut states = client.watch(request).await.unwrap().into_inner();
    let first = in_time("the state", states.message())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    // A call that goes on keeps the server up until its deadline, so that the change is seen.
    signal("TERM", server.id());
    let second = in_time("the change", states.message())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(second.status(), ServingStatus::NotServing);
    drop((states, client));
    assert_eq!(server.left().await, Some(0), "{}", server.logged());
    let gone = until("the port to close", async || {
        http::get(server.http(), "/healthz").await.err()
    });
    gone.await;
}
