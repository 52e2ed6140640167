fn main(){
    let b = etracker_sim::Bounds{clients: std::env::args().nth(3).map_or(50,|a|a.parse().unwrap()), hours: std::env::args().nth(4).map_or(24,|a|a.parse().unwrap()), loss:0.05};
    let from: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let to: u64 = std::env::args().nth(2).unwrap().parse().unwrap();
    for seed in from..to {
        let t = std::time::Instant::now();
        match etracker_sim::play(seed,&b) {
            Ok(p) => println!("{seed} ok {:x} steps {} req {} {}h peers {} mem {} left {} {:?}", p.transcript,p.steps,p.requests,p.span_secs/3600,p.tally.peers_max,p.tally.memory_max,p.tally.memory_left,t.elapsed()),
            Err(f) => println!("{f} {:?}", t.elapsed()),
        }
    }
}
