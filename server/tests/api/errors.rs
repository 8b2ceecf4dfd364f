//! What is refused, and how: every error carries a code and a reason.

use crate::support::{CONTRACT, Fixture, embedding, hello, reason, track};
use rollcall_server::pb::{self, observe_request::Message};
use tonic::{Code, Status};

const SEARCH: &str = "/rollcall.v1.SearchService/SearchEmbedding";

async fn refusal(fixture: &Fixture, hello: pb::Hello) -> Status {
    fixture.api.observe(hello).await.reply().await.unwrap_err()
}

#[tokio::test]
async fn runs_that_may_not_begin() {
    let fixture = Fixture::start().await;
    let source = fixture.api.add_remote("feed").await;
    let status = refusal(&fixture, hello(99)).await;
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::NotFound, "SOURCE_NOT_FOUND")
    );
    let foreign = pb::Hello {
        contract: "other".into(),
        ..hello(source.id)
    };
    assert_eq!(reason(&refusal(&fixture, foreign).await), "MODEL_MISMATCH");
    let run = fixture.api.run(source.id).await;
    assert_eq!(
        reason(&refusal(&fixture, hello(source.id)).await),
        "SOURCE_BUSY"
    );
    run.finish().await;
    assert_eq!(
        reason(&refusal(&fixture, hello(source.id)).await),
        "SOURCE_FINISHED"
    );
}

#[tokio::test]
async fn messages_that_make_no_sense_end_the_run() {
    let fixture = Fixture::start().await;
    let source = fixture.api.add_remote("feed").await;
    let unfit = |edit: fn(&mut pb::TrackObservation)| {
        let mut track = track(1, 1, 0.0, 0, 1, false);
        edit(&mut track);
        Message::Track(track)
    };
    for (message, expected) in [
        (unfit(|t| t.revision = 2), "PROTOCOL_VIOLATION"),
        (
            unfit(|t| t.exemplars[0].quality = f32::NAN),
            "PROTOCOL_VIOLATION",
        ),
        (
            unfit(|t| t.exemplars[0].embedding = vec![0; 3]),
            "INVALID_EMBEDDING",
        ),
        (
            unfit(|t| t.exemplars[0].embedding = vec![0; 128]),
            "INVALID_EMBEDDING",
        ),
        (Message::Hello(hello(source.id)), "PROTOCOL_VIOLATION"),
        (
            Message::Finished(pb::Finished::default()),
            "PROTOCOL_VIOLATION",
        ),
    ] {
        let mut run = loop {
            let mut run = fixture.api.observe(hello(source.id)).await;
            match run.reply().await {
                Ok(_) => break run,
                // The run before is being taken down.
                Err(status) => assert_eq!(reason(&status), "SOURCE_BUSY"),
            }
        };
        run.send(message).await;
        let status = run.reply().await.unwrap_err();
        assert_eq!(reason(&status), expected, "{status:?}");
    }
    assert_eq!(
        fixture.api.search(0.0).await.verdict(),
        pb::Verdict::Unknown
    );
}

#[tokio::test]
async fn embeddings_that_cannot_be_searched() {
    let fixture = Fixture::start().await;
    let good = embedding(0.0).as_slice().to_vec();
    let with = |embedding: Vec<f32>, contract: &str| pb::SearchEmbeddingRequest {
        embedding,
        contract: contract.to_owned(),
        options: None,
    };
    let mut not_finite = good.clone();
    not_finite[3] = f32::INFINITY;
    for (request, code, expected) in [
        (
            with(Vec::new(), ""),
            Code::InvalidArgument,
            "INVALID_EMBEDDING",
        ),
        (
            with(vec![1.0; 3], ""),
            Code::InvalidArgument,
            "INVALID_EMBEDDING",
        ),
        (
            with(vec![0.0; good.len()], ""),
            Code::InvalidArgument,
            "INVALID_EMBEDDING",
        ),
        (
            with(not_finite, ""),
            Code::InvalidArgument,
            "INVALID_EMBEDDING",
        ),
        (
            with(good.clone(), "other"),
            Code::FailedPrecondition,
            "MODEL_MISMATCH",
        ),
    ] {
        let status = fixture
            .api
            .call::<_, pb::SearchResponse>(SEARCH, request)
            .await
            .unwrap_err();
        assert_eq!((status.code(), reason(&status).as_str()), (code, expected));
    }
    let unit: pb::SearchResponse = fixture
        .api
        .call(
            SEARCH,
            with(good.iter().map(|value| value * 7.0).collect(), CONTRACT),
        )
        .await
        .unwrap();
    assert_eq!(unit.verdict(), pb::Verdict::Unknown);
}

#[tokio::test]
async fn what_is_not_there() {
    let fixture = Fixture::start().await;
    let method = "/rollcall.v1.IdentityService/GetIdentity";
    let request = pb::GetIdentityRequest { identity_id: 5 };
    let status = fixture
        .api
        .call::<_, pb::Identity>(method, request)
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::NotFound, "IDENTITY_NOT_FOUND")
    );
    let method = "/rollcall.v1.SourceService/GetSource";
    let request = pb::GetSourceRequest { source_id: 5 };
    let status = fixture
        .api
        .call::<_, pb::Source>(method, request)
        .await
        .unwrap_err();
    assert_eq!(reason(&status), "SOURCE_NOT_FOUND");
    let method = "/rollcall.v1.NoService/NoMethod";
    let status = fixture
        .api
        .call::<_, pb::Source>(method, request)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}
