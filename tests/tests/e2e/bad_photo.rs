//! Query pictures that cannot be answered, and one that can be in two ways.

use crate::support::cli::{arguments, rollcall};
use crate::support::facts::Facts;
use crate::support::programs::asset;
use crate::support::server::Setup;
use crate::support::truth::Truth;
use crate::support::{media, prepared, scratch, turn};
use rollcall_client::{ClientOptions, Code, pb};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pictures_without_an_answer_say_why() {
    let _turn = turn().await;
    let folder = scratch();
    let server = Setup::new(&folder.path().join("data")).start().await;
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let jpeg = std::fs::read(asset("fixtures/obama.jpg")).unwrap();
    let large = vec![0_u8; 20 << 20];
    let cases = [
        (file("empty.jpg", b""), "IMAGE_UNREADABLE"),
        (file("large.jpg", &large), "IMAGE_TOO_LARGE"),
        (file("text.jpg", b"this is no picture"), "IMAGE_UNREADABLE"),
        (file("cut.jpg", &jpeg[..200]), "IMAGE_UNREADABLE"),
        (asset("fixtures/coffee.png"), "NO_FACE_FOUND"),
        (folder.path().join("missing.jpg"), "FILE_NOT_FOUND"),
    ];
    for (path, reason) in &cases {
        let answer = rollcall(&server, arguments!["search", path])
            .await
            .expect_error(reason);
        assert_eq!(answer.err.trim_end().lines().count(), 1, "{answer:?}");
        assert!(
            answer.err.contains(path.to_str().unwrap()),
            "names the file: {answer:?}"
        );
    }
    // What the command line checks beforehand the server checks too.
    let options = ClientOptions {
        message_bytes_max: 64 << 20,
        ..ClientOptions::default()
    };
    let client = server.client_with(options).await;
    for (image, reason) in [(Vec::new(), "IMAGE_UNREADABLE"), (large, "IMAGE_TOO_LARGE")] {
        let request = pb::SearchImageRequest {
            image,
            ..Default::default()
        };
        let error = client.search_image(request).await.unwrap_err();
        assert_eq!(
            (error.code(), error.reason()),
            (Code::InvalidArgument, reason),
            "{error:?}"
        );
    }
    let embedding = |embedding| pb::SearchEmbeddingRequest {
        embedding,
        ..Default::default()
    };
    for values in [vec![], vec![1.0; 3], vec![0.0; 512], vec![f32::NAN; 512]] {
        let error = client
            .search_embedding(embedding(values))
            .await
            .unwrap_err();
        assert_eq!(error.reason(), "INVALID_EMBEDDING", "{error:?}");
    }
    let mut other = embedding(vec![1.0; 512]);
    other.contract = "another model".into();
    assert_eq!(
        client.search_embedding(other).await.unwrap_err().reason(),
        "MODEL_MISMATCH"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_faces_the_largest_is_used_and_any_can_be_chosen() {
    let _turn = turn().await;
    let (folder, truth) = (scratch(), Truth::small());
    let data = prepared::collection(folder.path()).await;
    let facts = Facts::read(&data.join("log"));
    let labels = truth.label(facts.tracks.values());
    let server = Setup::new(&data).start().await;
    let (large, small) = (&truth.held_out[0], &truth.held_out[1]);
    let both = media::side_by_side(&large.1, &small.1, folder.path().join("both.jpg"));

    let found = rollcall(&server, arguments!["search", &both])
        .await
        .expect(0)
        .json();
    let faces = found["faces"].as_array().unwrap();
    assert_eq!(faces.len(), 2, "{found}");
    let used = found["used_face_index"].as_u64().unwrap();
    let left = |face: &serde_json::Value| face["box"]["x"].as_f64().unwrap();
    let width = |face: &serde_json::Value| face["box"]["width"].as_f64().unwrap();
    let (mine, other) = (
        usize::try_from(used).unwrap(),
        usize::try_from(1 - used).unwrap(),
    );
    assert!(width(&faces[mine]) > width(&faces[other]), "{found}");
    assert!(left(&faces[mine]) < left(&faces[other]), "{found}");
    assert_eq!(
        faces[other]["rejection"],
        serde_json::Value::Null,
        "{found}"
    );

    let person = |answer: &serde_json::Value| {
        let identity = answer["hits"][0]["identity"]["id"].as_u64().unwrap();
        let track = facts
            .tracks
            .values()
            .find(|track| track.identity == identity)
            .unwrap();
        labels[&track.id].to_owned()
    };
    assert_eq!(person(&found), large.0);
    let chosen = arguments!["search", &both, "--face", other.to_string().as_str()];
    let chosen = rollcall(&server, chosen).await.expect(0).json();
    assert_eq!(
        (person(&chosen), chosen["used_face_index"].as_u64()),
        (small.0.clone(), Some(1 - used))
    );
    let beyond = arguments!["search", &both, "--face", "7"];
    rollcall(&server, beyond)
        .await
        .expect_error("FACE_INDEX_OUT_OF_RANGE");
}
