//! Servers of this machine for one test: each on a free port, each ended with the test.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

/// How long a server may take to begin.
const START_MAX: Duration = Duration::from_secs(60);

/// A program that runs until this is dropped.
pub struct Server {
    child: Child,
    /// Where it listens.
    pub port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(command: &mut Command, port: u16) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|why| panic!("{command:?} cannot be started: {why}"));
        Self { child, port }
    }

    /// Waits until `is_ready`; panics when the program ends before that.
    fn until(mut self, what: &str, is_ready: impl Fn() -> bool) -> Self {
        let begun = Instant::now();
        while !is_ready() {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("{what} ended with {status} before it was ready");
            }
            assert!(begun.elapsed() < START_MAX, "{what} is not ready in time");
            std::thread::park_timeout(Duration::from_millis(10));
        }
        self
    }
}

/// Whether `present`. On Debian `make setup` sees to it; elsewhere the test says that it is skipped.
pub fn has(what: &str, present: bool) -> bool {
    let debian = Path::new("/etc/debian_version").exists();
    assert!(present || !debian, "{what} is missing: run make setup");
    if !present {
        eprintln!("skipped: {what} is not installed");
    }
    present
}

/// A port that nobody has at the moment.
pub fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = tcp.local_addr().expect("it is bound").port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Whether somebody listens on `port`, seen without a connection: the kernel's list of sockets.
fn listens(protocol: &str, port: u16) -> bool {
    let table = fs::read_to_string(format!("/proc/net/{protocol}")).expect("Linux has this list");
    let end = format!(":{port:04X}");
    table.lines().skip(1).any(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let local = fields.next().is_some_and(|local| local.ends_with(&end));
        // 0A is a listening TCP socket, 07 an unconnected UDP one.
        local && matches!(fields.nth(1), Some("0A" | "07"))
    })
}

/// `ffmpeg` sending `clip` for ever, at the pace of its clock, to `target`, which comes after
/// `options`.
pub fn send(clip: &Path, options: &str, target: &str) -> Server {
    ffmpeg(
        &format!(
            "-re -stream_loop -1 -i {} -an -c copy {options}",
            clip.display()
        ),
        target,
        0,
    )
}

/// The same, waiting for a reader at `port`.
pub fn offer(clip: &Path, protocol: &str, port: u16, target: &str) -> Server {
    let input = format!(
        "-re -stream_loop -1 -i {} -an -c copy -f mpegts",
        clip.display()
    );
    ffmpeg(&input, target, port).until("ffmpeg", || listens(protocol, port))
}

/// The whole of `clip`, as fast as it is taken, to the first who connects to `port`.
pub fn offer_once(clip: &Path, port: u16) -> Server {
    let input = format!("-i {} -an -c copy -f mpegts", clip.display());
    let target = format!("tcp://127.0.0.1:{port}?listen=1");
    ffmpeg(&input, &target, port).until("ffmpeg", || listens("tcp", port))
}

fn ffmpeg(arguments: &str, target: &str, port: u16) -> Server {
    let mut command = Command::new("ffmpeg");
    command
        .args(["-v", "fatal", "-y", "-nostdin"])
        .args(arguments.split_whitespace())
        .arg(target);
    Server::start(&mut command, port)
}

/// GStreamer's RTSP server with `clip` at /tcp, /udp and /both; `None` where it is not installed.
pub fn rtsp(clip: &Path) -> Option<Server> {
    let program = "/usr/bin/python3";
    let script = "import gi; gi.require_version('GstRtspServer', '1.0')";
    let found = Command::new(program)
        .args(["-c", script])
        .stderr(Stdio::null())
        .status();
    if !has(
        "GStreamer's RTSP server",
        found.is_ok_and(|status| status.success()),
    ) {
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/local/rtsp.py");
    let mut command = Command::new(program);
    command
        .arg("-B")
        .arg(script)
        .arg(clip)
        .stdout(Stdio::piped());
    let mut server = Server::start(&mut command, 0);
    let mut line = String::new();
    let output = server.child.stdout.as_mut().expect("it is piped");
    BufReader::new(output)
        .read_line(&mut line)
        .expect("it says where it listens");
    server.port = line
        .trim()
        .parse()
        .unwrap_or_else(|_| panic!("no port: {line:?}"));
    Some(server)
}

/// nginx, serving `folder` over HTTP (with ranges) and taking RTMP at the second port; `None` where
/// it is not installed.
pub fn nginx(folder: &Path) -> Option<(Server, u16)> {
    let program = ["/usr/sbin/nginx", "/usr/bin/nginx"]
        .into_iter()
        .find(|p| Path::new(p).exists());
    let modules = ["/usr/lib/nginx/modules", "/usr/share/nginx/modules"];
    let module = modules.map(|folder| Path::new(folder).join("ngx_rtmp_module.so"));
    let module = module.into_iter().find(|module| module.exists());
    if !has(
        "nginx with its RTMP module",
        program.is_some() && module.is_some(),
    ) {
        return None;
    }
    let (program, module) = program.zip(module)?;
    let (http, rtmp) = (free_port(), free_port());
    let (own, module) = (folder.display(), module.display());
    let user = if rustix::process::getuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {own}/nginx-{kind};"))
        .join(" ");
    let text = format!(
        "load_module {module}; daemon off; master_process off; {user} pid {own}/nginx.pid;
         error_log {own}/nginx.log warn; events {{ worker_connections 64; }}
         http {{ access_log off; {temporary}
                 server {{ listen 127.0.0.1:{http}; root {own}; }} }}
         rtmp {{ access_log off;
                 server {{ listen 127.0.0.1:{rtmp}; application live {{ live on; }} }} }}"
    );
    let settings = folder.join("nginx.conf");
    fs::write(&settings, text).expect("the folder can be written to");
    let mut command = Command::new(program);
    command
        .arg("-e")
        .arg(folder.join("nginx.log"))
        .arg("-c")
        .arg(settings)
        .arg("-p")
        .arg(folder);
    let server = Server::start(&mut command, http)
        .until("nginx", || listens("tcp", http) && listens("tcp", rtmp));
    Some((server, rtmp))
}

/// Python's own web server over `folder`: it knows no ranges.
pub fn plain_http(folder: &Path) -> Server {
    let port = free_port();
    let mut command = Command::new("python3");
    command
        .args(["-B", "-m", "http.server", "--bind", "127.0.0.1"])
        .arg(port.to_string())
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Server::start(&mut command, port).until("http.server", || listens("tcp", port))
}

/// `clip` as HLS in `folder`/live, segment by segment at the pace of its clock, begun.
pub fn hls_live(clip: &Path, folder: &Path) -> Server {
    let live = folder.join("live");
    fs::create_dir(&live).expect("the folder can be written to");
    let playlist = live.join("list.m3u8");
    let options = "-f hls -hls_time 0.48 -hls_list_size 6 -hls_flags delete_segments+omit_endlist";
    let target = playlist.to_str().expect("test paths are UTF-8");
    send(clip, options, target).until("the playlist", || playlist.exists())
}

/// An executable script.
pub fn script(folder: &Path, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("resolver.sh");
    fs::write(&path, text).expect("the folder can be written to");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    path
}

/// A web server that knows ranges and hangs up a third of the file later.
pub fn broken_http(body: Vec<u8>, connections: &'static AtomicU32) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            connections.fetch_add(1, Ordering::SeqCst);
            let from = range_start(&stream).min(body.len());
            let part = &body[from..body.len().min(from + body.len() / 3 + 1)];
            let head = format!(
                "HTTP/1.1 206 Partial Content\r\nAccept-Ranges: bytes\r\nContent-Length: {}\r\n\
                 Content-Range: bytes {from}-{}/{}\r\nConnection: close\r\n\r\n",
                body.len() - from,
                body.len() - 1,
                body.len(),
            );
            let _ = stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(part));
        }
    });
    port
}

/// Reads a request; returns where the range it asks for begins.
fn range_start(stream: &TcpStream) -> usize {
    let mut from = 0;
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if line.is_empty() {
            break;
        }
        let range = line.strip_prefix("Range: bytes=");
        let start = range.and_then(|range| range.split('-').next()?.parse().ok());
        from = start.unwrap_or(from);
    }
    from
}
