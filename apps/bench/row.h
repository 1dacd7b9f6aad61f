#pragma once
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/cli.h"

namespace vitrine::apps {

/// One line of a bench. A NaN is a figure that does not exist for this row.
struct BenchRow {
  std::string name, sample, device, dtype,
      direction;                 ///< direction: "forward", "forward+backward", "training step" or "inference"
  double ms = NAN;               ///< median over rounds of the time of one call
  double gflops = NAN;           ///< 10^9 operations per second; forward+backward counts three times the forward
  double gbytes_per_s = NAN;     ///< of the bytes that one forward must move
  double percent_of_peak = NAN;  ///< Peaks::percent
  double percent_of_dram = NAN;  ///< gbytes_per_s of Peaks::dram, for what is no product
  double images_per_s = NAN;
  double rpe_tax = NAN;         ///< by how many percent relative positions slow a model down
  double rpe_memory_tax = NAN;  ///< by how many percent they raise the peak of memory
  double peak_bytes = NAN;      ///< tensor memory of one call at its peak, beyond what lives between calls
  double process_bytes = NAN;   ///< by which one call makes the process grow at most, all free memory given back before
  double peer_process_bytes = NAN;
  int64_t system_allocations = 0;  ///< tensor memory asked of the system in the timed rounds; 0 in a steady state
  double load = 0;                 ///< share of the machine that others kept busy before the row

  std::string peer;                                ///< "torch 2.15.0 (flash)"; empty without a peer for this row
  nlohmann::ordered_json peer_forms;               ///< the forms that a model's peer tried: milliseconds, or why not
  std::string check;                               ///< "ok", or "FAIL grad.1: relative L2 0.02"; empty without a peer
  double difference = NAN, peer_difference = NAN;  ///< largest relative L2 distance of an output or gradient to f64
  double peer_ms = NAN;
  double ratio = NAN, ratio_min = NAN, ratio_max = NAN;  ///< peer / ours over rounds; above 1 we are faster
  double percent_of_onednn = NAN;                        ///< bare oneDNN call / ours, in percent

  nlohmann::ordered_json json() const;
};

/// The rows for people; columns without any figure are left out.
Table bench_table(const std::vector<BenchRow>& rows);

}  // namespace vitrine::apps
