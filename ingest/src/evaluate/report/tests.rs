use super::*;

/// Panics unless each tag is closed, in order, and no text or attribute holds what would open one.
#[track_caller]
fn check_balanced(markup: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = markup.strip_prefix("<!DOCTYPE html>").unwrap_or(markup);
    while let Some(at) = rest.find('<') {
        let text = &rest[..at];
        assert!(
            !text.contains('>') || open.last() == Some(&"style"),
            "a stray > in {text:?}"
        );
        let end = rest[at..].find('>').expect("tags end") + at;
        let tag = &rest[at + 1..end];
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        assert!(!tag.contains('<'), "{tag}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed in order");
        } else if !tag.ends_with('/') {
            open.push(tag.split_whitespace().next().expect("a name"));
        }
        rest = &rest[end + 1..];
    }
    assert!(open.is_empty(), "{open:?} are not closed");
}

fn curves(points: Vec<(f64, f64)>) -> Plot {
    Plot::Curves(Curves {
        title: "True & false <accepts>".into(),
        description: "A \"curve\"".into(),
        x: Axis::log("FAR", 1e-4, 1.0),
        y: Axis::linear("TAR", 0.0, 1.0),
        series: vec![
            Series {
                name: "of <b>people</b>".into(),
                points,
                style: Style::Area,
            },
            Series {
                name: "dots".into(),
                points: vec![(0.1, 0.2), (f64::NAN, 0.5)],
                style: Style::Dots,
            },
        ],
    })
}

fn report() -> Report {
    let mut table = Table::new("rates", "Rates", &["name", "rate"]);
    table.push(vec![
        "<script>alert(1)</script>\u{7}, \"x\"".into(),
        "0.5".into(),
    ]);
    let bars = Plot::Bars(Bars {
        title: "Sizes".into(),
        description: "How many".into(),
        x_label: "faces".into(),
        y_label: "clusters".into(),
        bars: vec![("1<2".into(), 4.0), ("3+".into(), 0.0)],
    });
    Report {
        title: "Features of a<b.npy".into(),
        lead: vec!["One & all".into()],
        sections: vec![Section {
            heading: "Rates".into(),
            notes: vec!["a note".into()],
            tables: vec![table],
            plots: vec![curves(vec![(0.0, 0.0), (0.01, 0.5), (1.0, 1.0)]), bars],
        }],
        numbers: serde_json::json!({"rate": 0.5}),
        files: vec![("more.json".into(), serde_json::json!([1]))],
    }
}

#[test]
fn a_page_is_well_formed_and_lets_nobody_in() {
    let page = report().html();
    check_balanced(&page);
    assert!(!page.contains("<script"), "names are text");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;\u{fffd}"));
    assert!(page.contains("<title>Features of a&lt;b.npy</title>"));
    for foreign in ["http://", "https://", "src=", "@import", "url("] {
        let found = page.matches(foreign).count();
        // The name of SVG's namespace is no address that is fetched.
        let names = page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count();
        assert_eq!(
            found,
            if foreign == "http://" { names } else { 0 },
            "{foreign}"
        );
    }
}

#[test]
fn points_are_where_they_belong() {
    // The area for drawing goes from (66, 328) to (606, 54).
    let svg = curves(vec![(1e-9, 0.0), (1e-2, 0.5), (1e-2, 0.501), (1.0, 1.0)]).svg();
    check_balanced(&svg);
    assert!(
        svg.contains("d=\"M66.0 328.0L336.0 191.0L606.0 54.0\""),
        "{svg}"
    );
    assert!(svg.contains("L606.0 328.0L66.0 328.0Z\""), "{svg}");
    assert!(svg.contains("<circle cx=\"471.0\" cy=\"273.2\""), "{svg}");
    assert_eq!(
        svg.matches("<circle").count(),
        2,
        "one and its legend; NaN is nowhere"
    );
    for label in [">1e-4<", ">0.001<", ">0.01<", ">0.1<", ">1<", ">0.8<"] {
        assert!(svg.contains(label), "{label}");
    }
    let bars = report().sections[0].plots[1].svg();
    check_balanced(&bars);
    assert!(
        bars.contains("x=\"93.0\" y=\"67.0\" width=\"216.0\" height=\"261.0\""),
        "{bars}"
    );
    assert!(
        bars.contains("height=\"0.0\"") && bars.contains("1&lt;2: 4"),
        "{bars}"
    );
    check_balanced(&curves(Vec::new()).svg());
}

#[test]
fn a_folder_holds_whole_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("new/report");
    report().write(&at).unwrap();
    report().write(&at).unwrap();
    let mut names: Vec<_> = fs::read_dir(&at)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["more.json", "rates.csv", "report.html", "report.json"]
    );
    let csv = fs::read_to_string(at.join("rates.csv")).unwrap();
    assert_eq!(
        csv,
        "name,rate\n\"<script>alert(1)</script>\u{7}, \"\"x\"\"\",0.5\n"
    );
    let numbers: Value =
        serde_json::from_str(&fs::read_to_string(at.join("report.json")).unwrap()).unwrap();
    assert_eq!(numbers["rate"], 0.5);
    fs::write(folder.path().join("file"), "").unwrap();
    let why = report().write(&folder.path().join("file")).unwrap_err();
    assert!(why.to_string().starts_with("FILE: "), "{why}");
}

#[test]
fn a_terminal_shows_tables() {
    let text = report().text();
    assert!(
        text.contains("Features of a<b.npy\nOne & all\n\nRates\n  a note\n"),
        "{text}"
    );
}
