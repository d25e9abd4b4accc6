//! Connections become requests: a port, a runtime on one thread, and workers on others.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use axum::Router;
use fieldmark_explain::Explainer;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::TcpStream,
    runtime,
    sync::{Semaphore, watch},
};

use crate::{
    engine::{Engine, Tasks},
    error::{Error, Result},
    options::ServeOptions,
    web,
};

/// How long a client may take to send the head of a request; a connection that is kept open ends after it as well.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// A server that has its port and answers nothing yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    options: ServeOptions,
    stop: Handle,
}

/// Stops a server from another thread.
#[derive(Clone, Debug)]
pub struct Handle(Arc<watch::Sender<bool>>);

impl Handle {
    /// Ends [`Server::run`]: connections are closed, and what is being computed is finished and dropped.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Server {
    /// Takes the port. For an address beyond the loopback interface without a token, one is made up.
    ///
    /// # Errors
    /// [`Error::Bind`] if the address cannot be listened on; [`Error::Start`] if no random token can be made.
    pub fn bind(mut options: ServeOptions) -> Result<Self> {
        let address = SocketAddr::new(options.host, options.port);
        let fail = |source| Error::Bind { address, source };
        let listener = TcpListener::bind(address).map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        if options.token.is_none() && !options.host.is_loopback() {
            options.token = Some(random_token()?);
        }
        let (sender, _) = watch::channel(false);
        Ok(Self { listener, address, options, stop: Handle(Arc::new(sender)) })
    }

    /// The address and port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the page, with the token if there is one.
    pub fn url(&self) -> String {
        let token = self.options.token.as_ref().map_or(String::new(), |token| format!("?token={token}"));
        format!("http://{}/{token}", self.address)
    }

    /// What stops the server.
    pub fn handle(&self) -> Handle {
        self.stop.clone()
    }

    /// Answers requests until the server is stopped.
    ///
    /// # Errors
    /// [`Error::Start`] if the runtime or a worker cannot be started.
    pub fn run(self, explainer: &Explainer) -> Result<()> {
        let start = |source| Error::Start { source };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(start)?;
        let (tasks, waiting) = Tasks::new(self.options.queue);
        let engine = Engine::new(explainer, &self.options);
        std::thread::scope(|scope| {
            for number in 0..self.options.workers.max(1) {
                let (waiting, engine) = (&waiting, &engine);
                let name = std::thread::Builder::new().name(format!("worker-{number}"));
                name.spawn_scoped(scope, move || waiting.work(engine)).map_err(start)?;
            }
            let router = web::router(&self.options, self.address, explainer, tasks)?;
            let ended = runtime.block_on(accept(self.listener, &self.options, router, &self.stop));
            // The tasks' queue closes with the last connection, which ends the workers.
            runtime.shutdown_background();
            ended.map_err(start)
        })
    }
}

/// A token of 256 random bits.
fn random_token() -> Result<String> {
    let mut bytes = [0; 32];
    let random = ring::rand::SystemRandom::new();
    let none = |_| Error::Start { source: std::io::Error::other("no random numbers for a token") };
    ring::rand::SecureRandom::fill(&random, &mut bytes).map_err(none)?;
    Ok(fieldmark_model::digest::hexadecimal(&bytes))
}

async fn accept(
    listener: TcpListener,
    options: &ServeOptions,
    router: Router,
    stop: &Handle,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let places = Arc::new(Semaphore::new(options.connections));
    let mut stopped = stop.0.subscribe();
    loop {
        let free = async {
            let place = places.clone().acquire_owned().await;
            (listener.accept().await, place)
        };
        let accepted = tokio::select! {
            accepted = free => accepted,
            _ = stopped.wait_for(|stopped| *stopped) => return Ok(()),
        };
        match accepted {
            (Ok((stream, _)), Ok(place)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    connection(stream, router).await;
                    drop(place);
                });
            }
            // A client that is gone already, or no file descriptor left: that passes.
            (Err(_), _) => tokio::time::sleep(Duration::from_millis(20)).await,
            (_, Err(_)) => return Ok(()),
        }
    }
}

/// Serves one connection; that a client leaves is no error of the server.
async fn connection(stream: TcpStream, router: Router) {
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_buf_size(64 << 10);
    let service = TowerToHyperService::new(router);
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}
