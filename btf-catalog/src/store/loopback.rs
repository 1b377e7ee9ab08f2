//! A web server for tests: files in memory, read, listed and written as WebDAV has it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What the server has and does.
#[derive(Default)]
pub(super) struct Served {
    /// Files by path, without `/` at the beginning.
    pub(super) files: BTreeMap<String, Vec<u8>>,
    /// Bytes of a file after which the connection is cut.
    pub(super) cut_after: Option<usize>,
    /// Whether parts of files are never sent, only whole ones.
    pub(super) no_ranges: bool,
    /// Requests so far: method, path, and from which byte on.
    pub(super) requests: Vec<(String, String, usize)>,
}

/// A server on this machine's own network, for as long as the process lives.
pub(super) fn serve(served: Served) -> (String, Arc<Mutex<Served>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let served = Arc::new(Mutex::new(served));
    let shared = Arc::clone(&served);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let served = Arc::clone(&shared);
            std::thread::spawn(move || answer(stream, &served));
        }
    });
    (address, served)
}

fn answer(stream: TcpStream, served: &Mutex<Served>) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.trim_start_matches('/').to_owned());
    let (mut length, mut from) = (0, 0);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let header = header.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length: ") {
            length = value.parse().ok()?;
        }
        if let Some(value) = header.strip_prefix("range: bytes=") {
            from = value.split('-').next()?.parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let mut served = served.lock().unwrap();
    served.requests.push((method.clone(), path.clone(), from));
    let (status, headers, body) = match method.as_str() {
        "PUT" => {
            served.files.insert(path, body);
            ("201 Created", String::new(), Vec::new())
        }
        "DELETE" if served.files.remove(&path).is_some() => ("204 No Content", String::new(), Vec::new()),
        "PROPFIND" if served.files.keys().any(|file| file.starts_with(&path)) => {
            ("207 Multi-Status", String::new(), properties(&served, &path).into_bytes())
        }
        "GET" if served.files.contains_key(&path) => {
            let file = &served.files[&path];
            let date = "Last-Modified: Fri, 01 Jan 2021 00:00:00 GMT\r\n";
            if from > 0 && !served.no_ranges {
                let range =
                    format!("{date}Content-Range: bytes {from}-{}/{}\r\n", file.len() - 1, file.len());
                ("206 Partial Content", range, file[from..].to_vec())
            } else {
                ("200 OK", date.to_owned(), file.clone())
            }
        }
        "GET" if path.is_empty() || path.ends_with('/') => {
            ("200 OK", String::new(), page(&served, &path).into_bytes())
        }
        _ => ("404 Not Found", String::new(), Vec::new()),
    };
    let sent = served.cut_after.filter(|_| method == "GET" && !path_is_page(&headers)).unwrap_or(body.len());
    drop(served);
    let mut stream = stream;
    let head =
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&body[..sent.min(body.len())]).ok()
}

/// Pages have no date.
fn path_is_page(headers: &str) -> bool {
    headers.is_empty()
}

/// A page of links as web servers make of a directory.
fn page(served: &Served, dir: &str) -> String {
    let mut names: Vec<String> = Vec::new();
    for path in served.files.keys().filter_map(|path| path.strip_prefix(dir)) {
        names.push(path.split_inclusive('/').next().unwrap_or_default().replace('+', "%2B"));
    }
    names.dedup();
    let mut page =
        "<html><a href=\"../\">up</a><a href='?C=N'>by name</a><a href=\"http://elsewhere/x/\">x</a>"
            .to_owned();
    for name in &names {
        let _ = write!(page, "<a href=\"{name}\">{name}</a>");
    }
    page
}

fn properties(served: &Served, dir: &str) -> String {
    let mut text = "<?xml version=\"1.0\"?><multistatus xmlns=\"DAV:\">".to_owned();
    for (path, file) in served.files.iter().filter(|(path, _)| path.starts_with(dir)) {
        let _ = write!(
            text,
            "<response><href>/{path}</href><propstat><status>HTTP/1.1 200 OK</status><prop>\
             <getlastmodified>Fri, 01 Jan 2021 00:00:00 GMT</getlastmodified>\
             <getcontentlength>{}</getcontentlength><resourcetype/></prop></propstat></response>",
            file.len()
        );
    }
    text + "</multistatus>"
}
