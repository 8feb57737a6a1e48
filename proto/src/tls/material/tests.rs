//! Certificates made here, in all the ways they can be wrong, and whole handshakes.

use std::io::{Read as _, Write as _};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, ServerConnection};
use tempfile::TempDir;

use super::*;
use crate::ids::NodeId;
use crate::tls::{explain, now_s};

/// A CA and where its files go.
struct Ca {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Ca {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.crt"), &pem).unwrap();
        Self { dir, issuer: Issuer::new(params, key), pem }
    }

    fn files(&self) -> CertFiles {
        CertFiles::new(self.dir.path())
    }

    /// Makes a certificate for `identity`, valid so many days from now, under the name `stem`.
    fn issue(&self, stem: &str, identity: &str, days: i64) {
        let mut params = CertificateParams::default();
        let uri = rcgen::string::Ia5String::try_from(identity).unwrap();
        params.subject_alt_names.push(SanType::URI(uri));
        let now = rcgen::date_time_ymd(1970, 1, 1) + std::time::Duration::from_secs(now_s());
        let day = std::time::Duration::from_hours(24);
        params.not_before = now - 1_000 * day;
        let span = u32::try_from(days.unsigned_abs()).unwrap() * day;
        params.not_after = if days < 0 { now - span } else { now + span };
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.files().cert(stem), cert.pem()).unwrap();
        std::fs::write(self.files().key(stem), key.serialize_pem()).unwrap();
    }

    fn open(&self, stem: &str, identity: &Identity) -> Result<Arc<Material>, TlsError> {
        Material::open(&self.files(), stem, identity).map(|reloaded| reloaded.current())
    }

    fn node(&self, id: u32) -> Arc<Material> {
        let stem = format!("node{id}");
        self.issue(&stem, &format!("ranch://r/node/{id}"), 30);
        self.open(&stem, &Identity::node("r", NodeId(id))).unwrap()
    }
}

/// What each side says to a handshake: client first.
fn shake(client: &Material, server: &Material, meant: Identity) -> [Option<String>; 2] {
    shake_by(client.client(meant).unwrap(), server)
}

/// As [`shake`], by a client that may mean somebody else.
fn shake_by(client: Arc<ClientConfig>, server: &Material) -> [Option<String>; 2] {
    let name = ServerName::try_from("ranch").unwrap();
    let mut client = ClientConnection::new(client, name).unwrap();
    let mut server = ServerConnection::new(server.server()).unwrap();
    let mut said = [None, None];
    for _ in 0..6 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        feed(&mut wire.as_slice(), &mut server, &mut said[1]);
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut bytes = wire.as_slice();
        while !bytes.is_empty() && said[0].is_none() {
            client.read_tls(&mut bytes).unwrap();
            said[0] = client.process_new_packets().err().map(|error| explain(&error));
        }
    }
    if said == [None, None] {
        client.writer().write_all(b"hello").unwrap();
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        feed(&mut wire.as_slice(), &mut server, &mut said[1]);
        let mut heard = [0; 5];
        server.reader().read_exact(&mut heard).unwrap();
        assert_eq!((&heard, server.alpn_protocol()), (b"hello", Some(ALPN)));
        assert_eq!(server.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
    }
    said
}

fn feed(bytes: &mut &[u8], server: &mut ServerConnection, said: &mut Option<String>) {
    while !bytes.is_empty() && said.is_none() {
        server.read_tls(bytes).unwrap();
        *said = server.process_new_packets().err().map(|error| explain(&error));
    }
}

fn says(said: &[Option<String>; 2], client: &str, server: &str) {
    let fits = |said: &Option<String>, wanted: &str| {
        said.as_ref().map_or(wanted.is_empty(), |said| !wanted.is_empty() && said.contains(wanted))
    };
    assert!(fits(&said[0], client) && fits(&said[1], server), "{said:?}");
}

#[test]
fn processes_of_a_ranch_believe_each_other() {
    let ca = Ca::new();
    let (one, two) = (ca.node(1), ca.node(2));
    says(&shake(&one, &two, Identity::node("r", NodeId(2))), "", "");
    ca.issue("router", "ranch://r/router", 30);
    let router = ca.open("router", &Identity::router("r")).unwrap();
    says(&shake(&router, &one, Identity::node("r", NodeId(1))), "", "");
}

#[test]
fn another_node_than_meant_is_not_believed() {
    let ca = Ca::new();
    let (one, two) = (ca.node(1), ca.node(2));
    let said = shake(&one, &two, Identity::node("r", NodeId(3)));
    says(&said, "ranch://r/node/2, but ranch://r/node/3 was meant", "refuses our certificate");
    says(&shake(&one, &two, Identity::node("other", NodeId(2))), "was meant", "refuses");
    says(&shake(&one, &two, Identity::router("r")), "was meant", "refuses");
}

/// A machine that joins knows the ranch and none of its nodes.
#[test]
fn any_node_may_be_meant_but_nobody_else() {
    let ca = Ca::new();
    let one = ca.node(1);
    let shake = |server: &Material| shake_by(one.client_of_any_node().unwrap(), server);
    for id in [2, 3] {
        says(&shake(&ca.node(id)), "", "");
    }
    ca.issue("router", "ranch://r/router", 30);
    let router = ca.open("router", &Identity::router("r")).unwrap();
    says(&shake(&router), "ranch://r/router, but a node of r was meant", "refuses");
    ca.issue("other", "ranch://other/node/2", 30);
    let other = ca.open("other", &Identity::node("other", NodeId(2))).unwrap();
    says(&shake(&other), "ranch://other/node/2, but a node of r was meant", "refuses");
}

#[test]
fn a_machine_that_joins_is_who_its_certificate_says() {
    let ca = Ca::new();
    let open = |stem: &str| Material::open_as_named(&ca.files(), stem);
    assert!(matches!(open("late"), Err(TlsError::Missing { .. })));
    ca.issue("late", "ranch://r/node/7", 30);
    let (late, id) = open("late").unwrap();
    assert_eq!((late.current().identity(), id), (&Identity::node("r", NodeId(7)), NodeId(7)));
    ca.issue("late", "ranch://r/router", 30);
    let said = open("late").err().unwrap().to_string();
    assert!(said.contains("ranch://r/router") && said.contains("certs issue"), "{said}");
    ca.issue("late", "ranch://r/node/7", -2);
    assert!(matches!(open("late"), Err(TlsError::Time { .. })));
}

#[test]
fn a_certificate_of_another_ca_is_not_believed_on_either_side() {
    let (ours, theirs) = (Ca::new(), Ca::new());
    let said = shake(&ours.node(1), &theirs.node(2), Identity::node("r", NodeId(2)));
    says(&said, "not of a CA in our ca.crt", "not of a CA in its ca.crt");
    // A client that trusts both is still refused by a server that does not.
    std::fs::write(ours.files().cert("ca"), format!("{}{}", ours.pem, theirs.pem)).unwrap();
    let said = shake(&ours.node(1), &theirs.node(2), Identity::node("r", NodeId(2)));
    says(&said, "not of a CA in its ca.crt", "not of a CA in our ca.crt");
    std::fs::write(theirs.files().cert("ca"), format!("{}{}", ours.pem, theirs.pem)).unwrap();
    let said = shake(&ours.node(1), &theirs.node(2), Identity::node("r", NodeId(2)));
    says(&said, "", "");
}

#[test]
fn files_that_are_wrong_are_refused_with_the_reason() {
    let ca = Ca::new();
    let one = Identity::node("r", NodeId(1));
    let refusal = |stem: &str| ca.open(stem, &one).err().map(|error| error.to_string());
    assert!(refusal("node1").is_some_and(|said| said.contains("ranch certs")));
    ca.issue("node1", "ranch://r/node/1", 30);
    assert_eq!(refusal("node1"), None);
    ca.issue("node2", "ranch://r/node/2", 30);
    let said = refusal("node2").unwrap();
    assert!(said.contains("ranch://r/node/2, but ranch://r/node/1 is needed"), "{said}");
    ca.issue("old", "ranch://r/node/1", -2);
    let said = refusal("old").unwrap();
    assert!(said.contains("expired 2 days ago") && said.contains("rotate"), "{said}");
    std::fs::copy(ca.files().key("node2"), ca.files().key("node1")).unwrap();
    let said = refusal("node1").unwrap();
    assert!(said.contains("does not belong to the certificate"), "{said}");
    let other = Ca::new();
    other.issue("node1", "ranch://r/node/1", 30);
    for file in ["node1.crt", "node1.key"] {
        std::fs::copy(other.dir.path().join(file), ca.dir.path().join(file)).unwrap();
    }
    let said = refusal("node1").unwrap();
    assert!(said.contains("is not of a CA in"), "{said}");
}

/// A peer that does not check for itself: its certificate expires while it runs.
#[test]
fn an_expired_certificate_is_refused_by_the_other_side() {
    let ca = Ca::new();
    let (mut one, two) = (ca.node(1), ca.node(2));
    ca.issue("old", "ranch://r/node/1", -1);
    let text = |path| std::fs::read(path).unwrap();
    let chain = certificates(&ca.files().cert("old"), &text(ca.files().cert("old"))).unwrap();
    let key = private_key(&ca.files().key("old"), &text(ca.files().key("old"))).unwrap();
    let expired = CertifiedKey::from_der(vec![chain[0].der.clone()], key, &provider()).unwrap();
    Arc::get_mut(&mut one).unwrap().own = Arc::new(expired);
    let said = shake(&one, &two, Identity::node("r", NodeId(2)));
    says(&said, "expired by its clock", "has expired");
}
