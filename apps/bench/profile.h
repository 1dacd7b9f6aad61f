#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/bench/model_work.h"
#include "apps/cli.h"

namespace vitrine::apps {

/// A line of `bench train --profile`: what the calls of one op cost in one call of the model.
struct ProfileRow {
  std::string phase,
      op;         ///< phase: forward, backward or optimizer; op "between ops": all else, such as sums of gradients
  double ms = 0;  ///< without the ops inside it; median over rounds
  int64_t calls = 0, allocated_bytes = 0;
};

/// Runs the model and sums its time by op, dearest first within a phase.
std::vector<ProfileRow> profile(ModelWork& work, int rounds);
Table profile_table(const std::vector<ProfileRow>& rows);
nlohmann::ordered_json profile_json(const std::vector<ProfileRow>& rows);

}  // namespace vitrine::apps
