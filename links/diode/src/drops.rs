//! Datagrams that the kernel dropped for want of buffer, from `/proc/net/udp`: the last column of our port's line.

use std::net::SocketAddr;

/// The table of a node with thousands of sockets is well below; more is not read.
const TABLE_BYTES_MAX: usize = 4 << 20;

/// Drops of the socket bound to this port; 0 where the table does not say.
pub(crate) fn of(address: SocketAddr) -> u64 {
    let table = if address.is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" };
    let text = std::fs::read_to_string(table).unwrap_or_default();
    if text.len() > TABLE_BYTES_MAX { 0 } else { parse(&text, address.port()) }
}

fn parse(table: &str, port: u16) -> u64 {
    let ending = format!(":{port:04X}");
    let lines =
        table.lines().filter(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&ending)));
    lines.filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_column_of_our_port_is_read() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
                       12: 0100007F:1B58 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12345 2 0000000000000000 77\n\
                       13: 0100007F:1B59 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12346 2 0000000000000000 5\n";
        assert_eq!((parse(table, 7_000), parse(table, 7_001), parse(table, 7_002)), (77, 5, 0));
    }
}
