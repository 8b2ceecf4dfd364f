//! What other web sites, and whoever else should not, are refused.

use super::client::{Page, encoded};
use crate::support::{Fixture, track};
use rollcall_server::config::{Access, PageRule};

#[tokio::test]
async fn other_names_are_refused_for_pages_alone() {
    let fixture = Fixture::with(|config| {
        config.http.allowed_hosts = vec!["faces.example".to_owned()];
    })
    .await;
    let page = Page::of(&fixture);
    let get = async |path: &str, host: &str| {
        page.send("GET", path, &format!("Host: {host}\r\n"), b"")
            .await
    };
    for host in ["evil.example", "localhost.evil.example:9464", ""] {
        for path in ["/", "/people", "/thumb/1", "/events", "/static/page.js"] {
            get(path, host).await.refused(403, "HOST_NOT_ALLOWED");
        }
        for path in ["/metrics", "/healthz", "/readyz"] {
            assert_eq!(get(path, host).await.code, 200, "{path}");
        }
    }
    page.send("GET", "/", "", b"")
        .await
        .refused(403, "HOST_NOT_ALLOWED");
    for host in ["localhost:1", "127.0.0.1", "[::1]:8", "faces.example"] {
        assert_eq!(get("/people", host).await.code, 200, "{host}");
    }
    let named = get("/", "<script>").await;
    assert!(!named.text().contains("<script>\""), "{}", named.text());
}

#[tokio::test]
async fn forms_of_others_change_nothing() {
    let fixture = Fixture::start().await;
    let source = fixture.api.add_remote("feed").await;
    let mut run = fixture.api.run(source.id).await;
    run.track(track(1, 1, 0.0, 0, 1, true)).await;
    let page = Page::of(&fixture);
    let token = page.token().await;
    let path = "/people/1/update";
    let post = async |token: &str, headers: &str| {
        let body = encoded([("name", "Eve"), ("csrf", token)]);
        page.send("POST", path, &page.form_head(headers), body.as_bytes())
            .await
    };
    for wrong in ["", "x", &token[1..], &format!("{token}x")] {
        post(wrong, "").await.refused(403, "FORM_TOKEN");
    }
    for headers in [
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
    ] {
        post(&token, headers).await.refused(403, "CROSS_SITE");
    }
    for kind in ["text/plain", "application/json", "multipart/form-data"] {
        let head = format!("Host: {}\r\nContent-Type: {kind}\r\n", page.0);
        let body = encoded([("name", "Eve"), ("csrf", &token)]);
        let answer = page.send("POST", path, &head, body.as_bytes()).await;
        answer.refused(400, "NOT_A_FORM");
    }
    let long = "x".repeat(300 << 10);
    let answer = page.post(path, &[("name", &long)]).await;
    answer.refused(400, "NOT_A_FORM");
    assert!(!page.get("/people/1").await.text().contains("Eve"));
    // What a browser sends from our own page.
    let own = format!(
        "Sec-Fetch-Site: same-origin\r\nOrigin: http://{}\r\n",
        page.0
    );
    post(&token, &own).await.done();
    page.get("/people/1").await.holds("<h1>Eve</h1>");
    // Nothing is changed by looking.
    assert_eq!(page.get(path).await.code, 405);
}

#[tokio::test]
async fn the_page_can_be_turned_off() {
    let fixture = Fixture::with(|config| config.http.page = PageRule::Off).await;
    let page = Page::of(&fixture);
    for path in ["/", "/people", "/thumb/1", "/static/page.js"] {
        assert_eq!(page.get(path).await.code, 404, "{path}");
    }
    assert_eq!(page.get("/healthz").await.code, 200);
}

#[tokio::test]
async fn beyond_this_machine_the_page_must_be_asked_for() {
    for (rule, code) in [(PageRule::Local, 404), (PageRule::On, 200)] {
        let fixture = Fixture::with(|config| {
            config.http.listen = "0.0.0.0:0".parse().unwrap();
            config.http.page = rule;
            config.access = Access::Anyone;
        })
        .await;
        let port = fixture.server.http().port();
        let page = Page(([127, 0, 0, 1], port).into());
        assert_eq!(page.get("/people").await.code, code, "{rule:?}");
    }
}
