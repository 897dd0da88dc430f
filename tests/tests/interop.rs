//! Keys, signatures, wraps and ciphers held against programs and crates that share no code with ours - OpenSSL,
//! Python's `cryptography`, `gmcrypto-core` - and against the known answers of the standards.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test that cannot go on has failed")]
#![allow(clippy::disallowed_methods, reason = "a test writes files for other programs")]
#![allow(clippy::cast_possible_truncation, reason = "dice far below any limit")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use getrandom::SysRng;
use gmcrypto_core::sm2::{self, DEFAULT_SIGNER_ID, Sm2PrivateKey};
use protocol::Suite;
use protocol::aead::Aead;
use protocol::keys::{OpeningKey, SigningKey, VerifyingKey, public_pem};
use tests::papers::Noise;
use tests::programs::{pythons, repository, words};

const MESSAGE: &[u8] = b"trilock-v1-test\0a message of some length";
const DISTID: &str = "distid:1234567812345678";

/// Runs OpenSSL in a folder; none where it is absent or older than what knows SM2 by these words.
fn openssl(folder: &Path, arguments: &[&str]) -> Option<Output> {
    let version = Command::new("openssl").arg("version").output().ok()?;
    if !String::from_utf8_lossy(&version.stdout).starts_with("OpenSSL 3") {
        println!("SKIPPED: OpenSSL 3 is not installed");
        return None;
    }
    Some(Command::new("openssl").current_dir(folder).args(arguments).output().unwrap())
}

/// The same, and it must succeed.
fn must(folder: &Path, arguments: &[&str]) -> Option<Vec<u8>> {
    let output = openssl(folder, arguments)?;
    assert!(output.status.success(), "openssl {}: {}", arguments.join(" "), words(&output));
    Some(output.stdout)
}

fn genpkey(suite: Suite, use_: &str) -> &'static [&'static str] {
    match (suite, use_) {
        (Suite::Std, "sign") => &["genpkey", "-algorithm", "ed25519"],
        (Suite::Std, _) => &["genpkey", "-algorithm", "x25519"],
        (Suite::Gm, _) => &["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:SM2"],
    }
}

fn sign_words(suite: Suite) -> &'static [&'static str] {
    match suite {
        Suite::Std => &["pkeyutl", "-sign", "-inkey", "key.pem", "-rawin", "-in", "msg", "-out", "sig"],
        Suite::Gm => &["dgst", "-sm3", "-sign", "key.pem", "-sigopt", DISTID, "-out", "sig", "msg"],
    }
}

fn verify_words(suite: Suite) -> &'static [&'static str] {
    match suite {
        Suite::Std => &["pkeyutl", "-verify", "-pubin", "-inkey", "pub.pem", "-rawin", "-in", "msg", "-sigfile", "sig"],
        Suite::Gm => &["dgst", "-sm3", "-verify", "pub.pem", "-sigopt", DISTID, "-signature", "sig", "msg"],
    }
}

#[test]
fn keys_made_by_openssl_sign_here_and_keys_made_here_sign_there() {
    for suite in Suite::ALL {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let put = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
        put("msg", MESSAGE);
        for made_here in [false, true] {
            let key = if made_here {
                let key = SigningKey::generate(suite);
                put("key.pem", key.to_pem(None).unwrap().as_bytes());
                key
            } else {
                let Some(pem) = must(folder, genpkey(suite, "sign")) else { return };
                put("key.pem", &pem);
                SigningKey::from_pem(std::str::from_utf8(&pem).unwrap(), None).unwrap()
            };
            // The public half is the same for both, byte by byte.
            let Some(theirs) = must(folder, &["pkey", "-in", "key.pem", "-pubout"]) else { return };
            assert_eq!(String::from_utf8(theirs).unwrap(), public_pem(&key.public().to_spki()), "{suite}");
            put("pub.pem", public_pem(&key.public().to_spki()).as_bytes());
            for round in 0..8 {
                must(folder, sign_words(suite));
                let theirs = fs::read(folder.join("sig")).unwrap();
                assert!(key.public().verify(MESSAGE, &theirs).is_ok(), "{suite} {round}: their signature");
                put("sig", &key.sign(MESSAGE));
                must(folder, verify_words(suite));
            }
            put("sig", &key.sign(b"something else"));
            assert!(!openssl(folder, verify_words(suite)).unwrap().status.success(), "{suite}: anything verifies");
        }
    }
}

#[test]
fn a_passphrase_set_here_opens_there_and_one_set_there_opens_here() {
    for suite in Suite::ALL {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let key = SigningKey::generate(suite);
        fs::write(folder.join("ours.pem"), key.to_pem(Some("correct horse")).unwrap().as_bytes()).unwrap();
        let opened = must(folder, &["pkey", "-in", "ours.pem", "-passin", "pass:correct horse", "-pubout"]);
        let Some(opened) = opened else { return };
        assert_eq!(String::from_utf8(opened).unwrap(), public_pem(&key.public().to_spki()), "{suite}");
        fs::write(folder.join("key.pem"), key.to_pem(None).unwrap().as_bytes()).unwrap();
        let encrypt =
            ["pkcs8", "-topk8", "-in", "key.pem", "-scrypt", "-v2", "aes-256-cbc", "-passout", "pass:correct horse"];
        let theirs = String::from_utf8(must(folder, &encrypt).unwrap()).unwrap();
        assert!(theirs.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
        let read = SigningKey::from_pem(&theirs, Some("correct horse")).unwrap();
        assert_eq!(read.public().to_spki(), key.public().to_spki(), "{suite}");
        assert!(SigningKey::from_pem(&theirs, Some("wrong horse")).is_err());
    }
}

/// The DER inside a PEM of ours, by the hands of the other implementation.
fn their_key(pem: &str) -> Sm2PrivateKey {
    gmcrypto_core::pkcs8::decode(&gmcrypto_core::pem::decode(pem, "PRIVATE KEY").unwrap()).unwrap()
}

/// Signatures pass both ways, and of those that were broken at random both say the same: an implementation that takes
/// what the other refuses has forgotten a check.
#[test]
fn sm2_signatures_pass_to_a_second_implementation_and_back() {
    let mut noise = Noise::new(0x32918);
    for round in 0..24 {
        let ours = SigningKey::generate(Suite::Gm);
        let theirs = their_key(&ours.to_pem(None).unwrap());
        let public = theirs.public_key();
        assert_eq!(gmcrypto_core::spki::encode(&public), ours.public().to_spki(), "the public half is the same");
        let length = noise.below(300) as usize;
        let message = noise.bytes(length);
        let made_there = sm2::sign_with_id(&theirs, DEFAULT_SIGNER_ID, &message, &mut SysRng).unwrap();
        for (who, signature) in [("ours", ours.sign(&message)), ("theirs", made_there)] {
            assert!(sm2::verify_with_id(&public, DEFAULT_SIGNER_ID, &message, &signature), "{who} {round}, there");
            assert!(ours.public().verify(&message, &signature).is_ok(), "{who} {round}, here");
            let other = [&message[..], b"."].concat();
            assert!(!sm2::verify_with_id(&public, DEFAULT_SIGNER_ID, &other, &signature), "{who} {round}, there");
            assert!(ours.public().verify(&other, &signature).is_err(), "{who} {round}, here");
            for _ in 0..40 {
                let mut broken = signature.clone();
                let at = noise.below(broken.len() as u64) as usize;
                broken[at] ^= 1 << noise.below(8);
                assert!(!sm2::verify_with_id(&public, DEFAULT_SIGNER_ID, &message, &broken), "there: {broken:02x?}");
                assert!(ours.public().verify(&message, &broken).is_err(), "here: {broken:02x?}");
            }
        }
    }
}

/// Section 2 of FORMAT.md again, with an implementation that is not OpenSSL's.
#[test]
fn a_key_wrapped_by_a_second_implementation_opens_here_and_one_wrapped_here_opens_there() {
    let ours = OpeningKey::generate(Suite::Gm);
    let theirs = their_key(&ours.to_pem(None).unwrap());
    let (context, key) = (b"trilock-v1-content-key\0 and more", [7_u8; 16]);
    let bound = [&Suite::Gm.digest(context).as_bytes()[..], &key].concat();
    for _ in 0..24 {
        let wrapped = sm2::encrypt(&theirs.public_key(), &bound, &mut SysRng).unwrap();
        assert_eq!(ours.unwrap_key(&wrapped, context).unwrap().as_slice(), key);
        let wrapped = ours.public().wrap_key(&key, context).unwrap();
        assert_eq!(sm2::decrypt(&theirs, &wrapped).unwrap(), bound);
    }
}

/// Section 2 of FORMAT.md: what is encrypted is `SM3(context) | key`.
#[test]
fn a_key_wrapped_by_openssl_opens_here_and_one_wrapped_here_opens_there() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let Some(pem) = must(folder, genpkey(Suite::Gm, "seal")) else { return };
    fs::write(folder.join("key.pem"), &pem).unwrap();
    let opener = OpeningKey::from_pem(std::str::from_utf8(&pem).unwrap(), None).unwrap();
    let (context, key) = (b"trilock-v1-content-key\0 and more", [7_u8; 16]);
    let bound = [&Suite::Gm.digest(context).as_bytes()[..], &key].concat();
    fs::write(folder.join("plain"), &bound).unwrap();
    must(folder, &["pkeyutl", "-encrypt", "-inkey", "key.pem", "-in", "plain", "-out", "wrapped"]);
    let theirs = fs::read(folder.join("wrapped")).unwrap();
    assert_eq!(opener.unwrap_key(&theirs, context).unwrap().as_slice(), key);
    assert!(opener.unwrap_key(&theirs, b"another context").is_err());
    fs::write(folder.join("wrapped"), opener.public().wrap_key(&key, context).unwrap()).unwrap();
    must(folder, &["pkeyutl", "-decrypt", "-inkey", "key.pem", "-in", "wrapped", "-out", "opened"]);
    assert_eq!(fs::read(folder.join("opened")).unwrap(), bound);
}

/// Python computes RFC 9180 from its text and checks itself against appendix A.1.1; what it derives opens our wrap.
#[test]
fn a_std_wrap_is_hpke_base_mode_as_rfc_9180_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let Some(pem) = must(folder.path(), genpkey(Suite::Std, "seal")) else { return };
    fs::write(folder.path().join("key.pem"), &pem).unwrap();
    let der = must(folder.path(), &["pkey", "-in", "key.pem", "-outform", "DER"]).unwrap();
    let opener = OpeningKey::from_pem(std::str::from_utf8(&pem).unwrap(), None).unwrap();
    let (context, key) = (b"trilock-v1-content-key\0 and more", [9_u8; 32]);
    let wrapped = opener.public().wrap_key(&key, context).unwrap();
    let (enc, sealed) = wrapped.split_at(32);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let script = repository().join("tests/independent/hpke.py");
    let words_of_it = ["2", &hex(&der[der.len() - 32..]), &hex(enc), &hex(b"trilock-v1-wrap")];
    let Ok(output) = Command::new("python3").arg("-B").arg(script).args(words_of_it).output() else {
        println!("SKIPPED: python3 is not installed, HPKE was held against nobody");
        return;
    };
    assert!(output.status.success(), "{}", words(&output));
    let said = String::from_utf8(output.stdout).unwrap();
    let mut said = said.split_whitespace().map(unhex);
    let (derived, nonce) = (said.next().unwrap(), said.next().unwrap());
    let (body, tag) = sealed.split_last_chunk::<16>().unwrap();
    let mut opened = body.to_vec();
    let aead = Aead::new(Suite::Std, &derived).unwrap();
    aead.open(nonce.try_into().unwrap(), context, &mut opened, tag).unwrap();
    assert_eq!(opened, key);
}

fn unhex(text: &str) -> Vec<u8> {
    let text: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    text.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn sm3_gives_the_answers_of_gb_t_32905() {
    let answers = [
        (b"abc".to_vec(), "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"),
        (b"abcd".repeat(16), "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"),
    ];
    for (message, digest) in answers {
        assert_eq!(Suite::Gm.digest(&message).to_string(), digest);
    }
}

/// The example of part 5 on the recommended curve: key, message, and the signature that the standard computed.
#[test]
fn sm2_takes_the_signature_of_gb_t_32918() {
    let public = [
        "09F9DF311E5421A150DD7D161E4BC5C672179FAD1833FC076BB08FF356F35020",
        "CCEA490CE26775A52DC6EA718CC1AA600AED05FBF35E084A6632F6072DA9AD13",
    ];
    let numbers = [
        "F5A03B0648D2C4630EEAC513E1BB81A15944DA3827D5B74143AC7EACEEE720B3",
        "B1B6AA29DF212FD8763182BC0D421CA1BB9038FD1F7F42D4840B69C485BBC1AA",
    ];
    let spki = unhex(&("3059301306072a8648ce3d020106082a811ccf5501822d034200 04".to_owned() + &public.concat()));
    let key = VerifyingKey::from_spki(&spki).unwrap();
    let signature = unhex(&format!("3046022100{}022100{}", numbers[0], numbers[1]));
    assert!(key.verify(b"message digest", &signature).is_ok());
    assert!(key.verify(b"message digesT", &signature).is_err());
}

/// RFC 8998, appendix A.1.
#[test]
fn sm4_gcm_gives_the_answer_of_rfc_8998() {
    let aead = Aead::new(Suite::Gm, &unhex("0123456789ABCDEFFEDCBA9876543210")).unwrap();
    let nonce = unhex("00001234567800000000ABCD").try_into().unwrap();
    let additional = unhex("FEEDFACEDEADBEEFFEEDFACEDEADBEEFABADDAD2");
    let mut bytes = unhex(
        "AAAAAAAAAAAAAAAABBBBBBBBBBBBBBBBCCCCCCCCCCCCCCCCDDDDDDDDDDDDDDDD\
         EEEEEEEEEEEEEEEEFFFFFFFFFFFFFFFFEEEEEEEEEEEEEEEEAAAAAAAAAAAAAAAA",
    );
    let tag = aead.seal(nonce, &additional, &mut bytes);
    assert_eq!(tag.to_vec(), unhex("83DE3541E4C2B58177E065A9BF7B62EC"));
    assert_eq!(
        bytes,
        unhex(
            "17F399F08C67D5EE19D0DC9969C4BB7D5FD46FD3756489069157B282BB200735\
             D82710CA5C22F0CCFA7CBF93D496AC15A56834CBCF98C397B4024A2691233B8D"
        )
    );
}

/// OpenSSL's SM4 gives the answer of GB/T 32907; and the tag over nothing is one block of that SM4.
#[test]
fn sm4_is_that_of_gb_t_32907() {
    let folder = tempfile::tempdir().unwrap();
    let block = |key: &str, plain: &[u8]| {
        fs::write(folder.path().join("plain"), plain).unwrap();
        must(folder.path(), &["enc", "-sm4-ecb", "-K", key, "-nopad", "-in", "plain"])
    };
    let key = "0123456789abcdeffedcba9876543210";
    let Some(answer) = block(key, &unhex(key)) else { return };
    assert_eq!(answer, unhex("681edf34d206965e86b3e94f536e4246"));
    let aead = Aead::new(Suite::Gm, &unhex(key)).unwrap();
    for first in 0..16_u8 {
        let nonce = [first; 12];
        // Counter 1 behind the nonce; the hash of nothing is zero.
        let plain = [&nonce[..], &[0, 0, 0, 1]].concat();
        assert_eq!(block(key, &plain).unwrap(), aead.tag(nonce, b""), "nonce of {first}");
    }
}

const SEAL: &str = "\
import sys
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
for line in sys.stdin:
    key, nonce, more, plain = (bytes.fromhex(word) for word in line.rstrip('\\n').split(','))
    cipher = Cipher(algorithms.SM4(key), modes.GCM(nonce)).encryptor()
    cipher.authenticate_additional_data(more)
    print((cipher.update(plain) + cipher.finalize() + cipher.tag).hex())
";

const PROBE: &str = "\
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
Cipher(algorithms.SM4(bytes(16)), modes.GCM(bytes(12))).encryptor()
";

#[test]
fn sm4_gcm_is_that_of_pythons_cryptography() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("seal.py");
    fs::write(&script, SEAL).unwrap();
    let knows = |python: &&PathBuf| {
        let probe = Command::new(python.as_path()).args(["-c", PROBE]).output();
        probe.is_ok_and(|output| output.status.success())
    };
    let pythons = pythons();
    let Some(python) = pythons.iter().find(knows) else {
        println!("SKIPPED: no python3 here with a `cryptography` that knows SM4-GCM (pip install 'cryptography>=50')");
        return;
    };
    let mut noise = Noise::new(0x5a4);
    let (mut lines, mut ours) = (String::new(), Vec::new());
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    for length in (0..70).chain([127, 128, 129, 1_023, 4_096, 65_535, 65_536]) {
        let (key, nonce, more) = (noise.bytes(16), noise.bytes(12), noise.bytes(length % 41));
        let plain = noise.bytes(length);
        lines += &format!("{},{},{},{}\n", hex(&key), hex(&nonce), hex(&more), hex(&plain));
        let mut bytes = plain;
        let tag = Aead::new(Suite::Gm, &key).unwrap().seal(nonce.try_into().unwrap(), &more, &mut bytes);
        ours.push(hex(&[&bytes[..], &tag].concat()));
    }
    fs::write(folder.path().join("lines"), lines).unwrap();
    let input = fs::File::open(folder.path().join("lines")).unwrap();
    let output = Command::new(python).arg(script).stdin(input).output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    let theirs = String::from_utf8(output.stdout).unwrap();
    assert_eq!(theirs.lines().collect::<Vec<_>>(), ours);
}
