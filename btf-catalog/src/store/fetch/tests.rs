use super::super::loopback::{Served, serve};
use super::*;

const FILES: [&str; 4] = [
    "hub/debian/12/x86_64/6.1.0-1-amd64.btf.tar.xz",
    "hub/debian/12/arm64/6.1.0-1-arm64.btf.tar.xz",
    "hub/debian/13/x86_64/6.12.100+deb13-amd64.btf.tar.xz",
    "hub/ubuntu/20.04/x86_64/5.4.0-100-generic.btf.tar.xz",
];

fn served() -> Served {
    let content = |path: &str| (path.to_owned(), path.bytes().cycle().take(5000).collect());
    let others = ["hub/README", "hub/debian/12/x86_64/notes.txt", "hub/debian/12/x86_64/deeper/x"];
    Served { files: FILES.into_iter().chain(others).map(content).collect(), ..Served::default() }
}

fn wanted(patterns: &[&str]) -> Vec<Wanted> {
    patterns.iter().map(|pattern| pattern.parse().unwrap()).collect()
}

#[test]
fn pages_of_links_tell_what_there_is_and_only_those_that_matter_are_read() {
    let (address, served) = serve(served());
    let mirror = Mirror::new(&format!("{address}/hub")).unwrap();
    let paths = |patterns: &[&str]| -> Vec<String> {
        mirror
            .offers(&wanted(patterns))
            .unwrap()
            .iter()
            .map(|offer| format!("hub/{}", offer.path()))
            .collect()
    };
    assert_eq!(paths(&["*"]), [FILES[1], FILES[0], FILES[2], FILES[3]]);
    served.lock().unwrap().requests.clear();
    assert_eq!(paths(&["debian/*/x86_64/6.12.*"]), [FILES[2]]);
    assert!(
        served
            .lock()
            .unwrap()
            .requests
            .iter()
            .all(|(_, path, _)| !path.contains("ubuntu") && !path.contains("arm64"))
    );
    // One that is named needs no page.
    served.lock().unwrap().requests.clear();
    assert_eq!(paths(&["debian/12/x86_64/6.1.0-1-amd64"]), [FILES[0]]);
    assert!(served.lock().unwrap().requests.is_empty());
}

#[test]
fn a_download_that_breaks_off_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    for no_ranges in [false, true] {
        let (address, server) = serve(Served { cut_after: Some(2000), no_ranges, ..served() });
        let mirror = Mirror::new(&format!("{address}/hub")).unwrap();
        let offer = Offer::parse(FILES[0].strip_prefix("hub/").unwrap()).unwrap();
        let done = mirror.download(&offer, dir.path());
        if no_ranges {
            assert!(done.is_err());
            // A later run has what was read, and a server that holds out.
            server.lock().unwrap().cut_after = None;
            let done = mirror.download(&offer, dir.path()).unwrap();
            assert_eq!(fs::read(done).unwrap(), server.lock().unwrap().files[FILES[0]]);
        } else {
            assert_eq!(fs::read(done.unwrap()).unwrap(), server.lock().unwrap().files[FILES[0]]);
            let from: Vec<usize> = server.lock().unwrap().requests.iter().map(|(.., from)| *from).collect();
            assert_eq!(from, [0, 2000, 4000]);
        }
    }
}

#[test]
fn what_is_not_there_is_an_error_with_its_address_but_no_password() {
    let (address, _) = serve(served());
    let mirror = Mirror::new(&address.replace("http://", "http://me:secret@")).unwrap();
    let offer = Offer::parse("debian/12/x86_64/6.1.0-9").unwrap();
    let dir = tempfile::tempdir().unwrap();
    let error = mirror.download(&offer, dir.path()).unwrap_err().to_string();
    assert!(
        error.contains("404") && error.contains(&mirror.address(&offer)) && !error.contains("secret"),
        "{error}"
    );
    assert_eq!(mirror.address(&offer), format!("{address}/debian/12/x86_64/6.1.0-9.btf.tar.xz"));
    assert!(Mirror::new("ftp://host/x").is_err());
}

#[test]
fn names_that_lead_elsewhere_are_none() {
    for path in
        ["a/b/c/..", "a/b/c/.d", "../b/c/d", "a/b/c", "a/b/c/d/e", "a//c/d", "a/b/c/d%2f", "a/b/c/d\n"]
    {
        assert!(Offer::parse(path).is_none(), "{path}");
        assert!(path == "a/b/c" || path.parse::<Wanted>().is_err(), "{path}");
    }
    let page = Url::parse("http://host/hub/").unwrap();
    let text = "<a href=\"a/\"><a href='/hub/b%2Bc'><a href=\"/etc/\"><a href=\"//other/hub/d\"><a href=\"a/b\">\
                <a href=\"%2e%2e/\"><a href=\"..%2fx\"><a href=\"?C=N\"><a href=\"%\"><a href=e>";
    assert_eq!(links(&page, text), ["a/", "b+c", "../x"]);
    assert!(!is_name("../x"));
}
