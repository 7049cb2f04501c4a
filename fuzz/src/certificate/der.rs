//! Certificates without a signature, and who their holder is.

use headcount::{authentication::Subject, model::User};

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_IDENTIFIER: u8 = 6;
const UTF8: u8 = 12;
/// X.520's `commonName` and `organizationName`, and the extension `subjectAltName`.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANIZATION: &[u8] = &[0x55, 4, 10];
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
/// `ecdsa-with-SHA256`, and an elliptic curve's public key.
const SIGNATURE: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];

/// What a certificate is made of.
#[derive(Debug, Default)]
pub struct Parts {
    common_names: Vec<String>,
    organizations: Vec<String>,
    /// The extensions: the tag and the text of each name.
    extensions: Vec<Vec<(u8, String)>>,
}

impl Parts {
    /// Adds a part. Names of extensions are ASCII.
    pub fn add(&mut self, kind: &str, value: &str) {
        let value = value.to_owned();
        let tag = match kind {
            "cn" => return self.common_names.push(value),
            "o" => return self.organizations.push(value),
            "san" => return self.extensions.push(Vec::new()),
            "uri" => 0x86,
            "dns" => 0x82,
            _ => return,
        };
        if !value.is_ascii() {
            return;
        }
        if self.extensions.is_empty() {
            self.extensions.push(Vec::new());
        }
        self.extensions.last_mut().expect("an extension").push((tag, value));
    }

    /// The holder; none if the certificate names none, or several.
    pub fn subject(&self) -> Option<Subject> {
        let names = match self.extensions.as_slice() {
            [] => &[],
            [names] => names.as_slice(),
            _ => return None,
        };
        let uris: Vec<_> = names.iter().filter(|(tag, _)| *tag == 0x86).map(|(_, uri)| uri).collect();
        match (uris.as_slice(), self.common_names.as_slice()) {
            ([uri], _) => uri.starts_with("spiffe://").then(|| Subject::Spiffe((*uri).clone())),
            ([], [name]) if !name.is_empty() && self.organizations.len() <= 64 => {
                Some(Subject::User(User { name: name.clone(), groups: self.organizations.clone() }))
            }
            _ => None,
        }
    }

    pub fn certificate(&self) -> Vec<u8> {
        let attribute = |oid, text: &String| {
            value(
                SET,
                &[value(SEQUENCE, &[value(OBJECT_IDENTIFIER, &[oid]), value(UTF8, &[text.as_bytes()])])],
            )
        };
        let names = self.common_names.iter().map(|name| attribute(COMMON_NAME, name));
        let subject: Vec<_> =
            names.chain(self.organizations.iter().map(|name| attribute(ORGANIZATION, name))).collect();
        let signature = value(SEQUENCE, &[value(OBJECT_IDENTIFIER, &[SIGNATURE])]);
        let time = |text: &[u8]| value(0x17, &[text]);
        let key =
            value(SEQUENCE, &[value(SEQUENCE, &[value(OBJECT_IDENTIFIER, &[KEY])]), value(3, &[&[0, 4]])]);
        let extensions: Vec<_> = self.extensions.iter().map(|names| extension(names)).collect();
        let mut fields = vec![
            value(0xa0, &[value(2, &[&[2]])]),
            value(2, &[&[7]]),
            signature.clone(),
            value(SEQUENCE, &[&[]]),
            value(SEQUENCE, &[time(b"260101000000Z"), time(b"300101000000Z")]),
            value(SEQUENCE, &subject),
            key,
        ];
        if !extensions.is_empty() {
            fields.push(value(0xa3, &[value(SEQUENCE, &extensions)]));
        }
        value(SEQUENCE, &[value(SEQUENCE, &fields), signature, value(3, &[&[0]])])
    }
}

fn extension(names: &[(u8, String)]) -> Vec<u8> {
    let names: Vec<_> = names.iter().map(|(tag, text)| value(*tag, &[text.as_bytes()])).collect();
    let oid = value(OBJECT_IDENTIFIER, &[ALTERNATIVE_NAMES]);
    value(SEQUENCE, &[oid, value(4, &[value(SEQUENCE, &names)])])
}

/// A value with its tag and its length.
fn value(tag: u8, parts: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let contents: Vec<u8> = parts.iter().flat_map(AsRef::as_ref).copied().collect();
    let length = u16::try_from(contents.len()).expect("inputs are short").to_be_bytes();
    let mut der = vec![tag];
    match length {
        [0, low] if low < 0x80 => der.push(low),
        [0, low] => der.extend([0x81, low]),
        [high, low] => der.extend([0x82, high, low]),
    }
    der.extend(contents);
    der
}
