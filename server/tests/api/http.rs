//! Metrics and health, over HTTP and gRPC; reflection.

use crate::support::{Fixture, track};
use rollcall_server::pb;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
};

pub(crate) async fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn pages() {
    let fixture = Fixture::start().await;
    let source = fixture.api.add_remote("feed").await;
    let mut run = fixture.api.run(source.id).await;
    run.track(track(1, 1, 0.0, 0, 1, true)).await;
    let counters = pb::SourceCounters {
        frames_decoded: 30,
        faces_embedded: 2,
        ..Default::default()
    };
    let report = pb::Report {
        state: pb::SourceState::Running.into(),
        counters: Some(counters),
        ..Default::default()
    };
    let message = Some(pb::observe_request::Message::Report(report));
    run.messages
        .send(pb::ObserveRequest { number: 0, message })
        .await
        .unwrap();
    run.finish().await;
    fixture.api.search(0.0).await;
    let http = fixture.server.http();
    assert!(get(http, "/healthz").await.starts_with("HTTP/1.1 200"));
    let ready = get(http, "/readyz").await;
    assert!(
        ready.starts_with("HTTP/1.1 200") && ready.contains("\"ready\":true"),
        "{ready}"
    );
    let metrics = get(http, "/metrics").await;
    for line in [
        "rollcall_index_identities 1",
        "rollcall_index_faces 1",
        "rollcall_source_frames_total{result=\"decoded\",source=\"1\"} 30",
        "rollcall_source_state{source=\"1\",state=\"ended\"} 1",
        "rollcall_source_up{source=\"1\"} 0",
        "rollcall_decisions_total{kind=\"new\"} 1",
        "rollcall_search_duration_seconds_count{kind=\"embedding\"} 1",
        "rollcall_grpc_requests_total{code=\"OK\",method=\"SearchEmbedding\",service=\"rollcall.v1.SearchService\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert!(get(http, "/nothing").await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn health_is_told_by_service_and_watched_until_the_end() {
    let fixture = Fixture::start().await;
    let check = async |service: &str| {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let method = "/grpc.health.v1.Health/Check";
        fixture
            .api
            .call::<_, HealthCheckResponse>(method, request)
            .await
    };
    for service in ["", "rollcall.v1.SearchService", "rollcall.v1.IngestService"] {
        assert_eq!(
            check(service).await.unwrap().status(),
            ServingStatus::Serving,
            "{service}"
        );
    }
    assert_eq!(
        check("nobody").await.unwrap_err().code(),
        tonic::Code::NotFound
    );
    let request = HealthCheckRequest {
        service: String::new(),
    };
    let mut watch: tonic::Streaming<HealthCheckResponse> = fixture
        .api
        .stream("/grpc.health.v1.Health/Watch", request)
        .await
        .unwrap();
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        ServingStatus::Serving
    );
    let stop = tokio::spawn(fixture.server.stop());
    assert_eq!(
        watch.message().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    drop(watch);
    stop.await.unwrap();
}

#[tokio::test]
async fn services_can_be_listed_by_reflection() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, ServerReflectionResponse,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let fixture = Fixture::start().await;
    for version in ["v1", "v1alpha"] {
        let method: &'static str = match version {
            "v1" => "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            _ => "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        };
        // Both versions have the same messages.
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(MessageRequest::ListServices(String::new())),
        };
        let mut answers: tonic::Streaming<ServerReflectionResponse> =
            fixture.api.stream(method, request).await.unwrap();
        let answer = answers.message().await.unwrap().unwrap().message_response;
        let Some(MessageResponse::ListServicesResponse(list)) = answer else {
            panic!("{answer:?}")
        };
        let names: Vec<_> = list
            .service
            .iter()
            .map(|service| service.name.as_str())
            .collect();
        for name in [
            "rollcall.v1.SearchService",
            "rollcall.v1.WatchService",
            "grpc.health.v1.Health",
        ] {
            assert!(names.contains(&name), "{version}: {names:?}");
        }
    }
}
