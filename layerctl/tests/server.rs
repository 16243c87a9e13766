//! Servers on loopback: nginx as it is, and small ones that misbehave.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::world::World;

/// Debian's nginx, serving directories of a world until it is dropped.
pub(crate) struct Nginx {
    child: Child,
    /// Its port for HTTP.
    pub(crate) port: u16,
    /// Its port for HTTPS, with the certificate of [`certificate`].
    pub(crate) tls: u16,
}

impl Nginx {
    /// Serves the world's `served`; `extra` goes into both servers. Its log of requests is the world's `access.log`: URI,
    /// status, Range, If-Range.
    pub(crate) fn start(world: &World, extra: &str) -> Self {
        certificate(world);
        let plain = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let secure = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (port, tls) = (number(&plain), number(&secure));
        let here = world.path(".").canonicalize().unwrap();
        let here = here.display();
        let config = format!(
            "daemon off; worker_processes 1; user root; pid {here}/nginx.pid; events {{}}\n\
             http {{ log_format asked '$request_method $uri $status $http_range $http_if_range';\n\
             access_log {here}/access.log asked; default_type application/octet-stream;\n\
             client_body_temp_path {here}/t1; proxy_temp_path {here}/t2; fastcgi_temp_path {here}/t3;\n\
             uwsgi_temp_path {here}/t4; scgi_temp_path {here}/t5; proxy_max_temp_file_size 0;\n\
             server {{ listen 127.0.0.1:{port}; root {here}/served; {extra} }}\n\
             server {{ listen 127.0.0.1:{tls} ssl; ssl_certificate {here}/server.pem; ssl_certificate_key {here}/server.key;\n\
             root {here}/served; {extra} }} }}\n",
            extra = extra.replace("PORT", &port.to_string()).replace("TLS", &tls.to_string()),
        );
        world.write("nginx.conf", config);
        // Both sockets listen already: nginx takes them over as in an upgrade of its program, and who connects before it
        // has started waits for it.
        for socket in [&plain, &secure] {
            socket.set_nonblocking(true).unwrap();
            rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::empty()).unwrap();
        }
        let child = Command::new("setpriv")
            .args([
                "--pdeathsig",
                "TERM",
                "nginx",
                "-e",
                "error.log",
                "-c",
                &format!("{here}/nginx.conf"),
                "-p",
                &here.to_string(),
            ])
            .env("NGINX", format!("{};{};", plain.as_raw_fd(), secure.as_raw_fd()))
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, port, tls }
    }

    /// The repository by HTTP.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its master ends its worker.
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}

fn number(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

/// Makes a certificate authority `ca.pem` and a certificate of it for localhost and repo.test.
fn certificate(world: &World) {
    world.shell(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.pem \
           -subj '/CN=Test CA' -days 9999 -addext basicConstraints=critical,CA:TRUE 2>/dev/null
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key -out server.csr \
           -subj '/CN=localhost' 2>/dev/null
         echo 'subjectAltName=DNS:localhost,DNS:repo.test,IP:127.0.0.1' >ext
         openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 9999 \
           -extfile ext 2>/dev/null",
    );
}

/// What stands between a client and a server: it counts, and cuts.
pub(crate) struct Relay {
    /// Its port.
    pub(crate) port: u16,
    /// Bytes that went through, both ways.
    pub(crate) bytes: Arc<AtomicU64>,
    /// Connections that were made.
    pub(crate) connections: Arc<AtomicUsize>,
    /// First lines of CONNECT requests.
    pub(crate) tunnels: Arc<Mutex<Vec<String>>>,
}

impl Relay {
    /// Passes connections on to `port`; each ends after `limit` bytes from the server. One that begins with CONNECT is a
    /// tunnel there, whatever host it names.
    pub(crate) fn start(port: u16, limit: u64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let relay = Self {
            port: number(&listener),
            bytes: Arc::default(),
            connections: Arc::default(),
            tunnels: Arc::default(),
        };
        let (bytes, connections) = (relay.bytes.clone(), relay.connections.clone());
        let tunnels = relay.tunnels.clone();
        thread::spawn(move || {
            for client in listener.incoming() {
                connections.fetch_add(1, Ordering::SeqCst);
                let (bytes, tunnels) = (bytes.clone(), tunnels.clone());
                thread::spawn(move || pass(client.unwrap(), port, limit, &bytes, &tunnels));
            }
        });
        relay
    }
}

fn pass(
    mut client: TcpStream,
    port: u16,
    limit: u64,
    bytes: &Arc<AtomicU64>,
    tunnels: &Mutex<Vec<String>>,
) {
    let mut head = [0; 8];
    let length = client.peek(&mut head).unwrap_or(0);
    if head.get(..length).is_some_and(|head| head.starts_with(b"CONNECT ")) {
        let line = tunnel(&mut client);
        tunnels.lock().unwrap().push(line);
    }
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    let (mut up_from, mut up_to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    let counted = bytes.clone();
    thread::spawn(move || copy(&mut up_from, &mut up_to, u64::MAX, &counted));
    copy(&mut server, &mut client, limit, bytes);
    let _ = client.shutdown(Shutdown::Both);
    let _ = server.shutdown(Shutdown::Both);
}

/// Answers a CONNECT request and gives its first line.
fn tunnel(client: &mut TcpStream) -> String {
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        lines.push(line.trim().to_owned());
    }
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").unwrap();
    lines.swap_remove(0)
}

fn copy(from: &mut TcpStream, to: &mut TcpStream, limit: u64, bytes: &AtomicU64) {
    let mut from = from.take(limit);
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if to.write_all(buffer.get(..length).unwrap()).is_err() {
            return;
        }
        bytes.fetch_add(length as u64, Ordering::SeqCst);
    }
}

/// A server of one's own: `answer` gets each request's head and the connection. Gives its port.
pub(crate) fn serve(mut answer: impl FnMut(&str, &mut TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = number(&listener);
    thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut head = String::new();
            let mut reader = BufReader::new(client.try_clone().unwrap());
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).unwrap_or(0) > 0 {}
            answer(&head, &mut client);
        }
    });
    port
}
