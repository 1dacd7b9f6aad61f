#include <CLI/CLI.hpp>
#include <iostream>

#include "apps/classifier/weights.h"
#include "apps/train/interrupt.h"
#include "apps/train/trainer.h"

namespace vitrine::apps {
namespace {

using Json = nlohmann::ordered_json;

struct Flags : CommonFlags {
  TrainConfig config;
  TrainRun run;
  std::function<std::vector<std::string>()> given;
};

/// Checks the flags given against the run that is resumed: what determines its result cannot change on the way.
void check_same(const Flags& flags, const TrainConfig& stored) {
  const Json before = stored.json(), now = flags.config.json();
  for (const std::string& key : flags.given()) {
    check<UsageError>(before[key] == now[key],
                      "train: {} has {} {}, not {}; leave the flag out, or choose another --out",
                      checkpoint_of(flags.run.out), flag_of(key), before[key].dump(), now[key].dump());
  }
}

int train(Flags& flags) {
  flags.apply();
  flags.config.seed = flags.seed;
  flags.config.precision = flags.precision;
  flags.config.check_ranges();
  flags.run.device = flags.device();
  std::optional<StoredRun> stored = stored_run(flags.run.out);
  check<UsageError>(flags.run.resume || !stored,
                    "train: {} holds a run already; add --resume to go on with it, or "
                    "choose another --out",
                    flags.run.out);
  if (stored) {
    check_same(flags, stored->config);
  } else if (flags.run.resume) {
    std::cerr << format("{}: nothing to resume; starting anew\n", flags.run.out);
  }
  const std::atomic<bool>& stop = stop_on_interrupt();
  Trainer trainer(stored ? stored->config : flags.config, flags.run, stored ? &stored->checkpoint : nullptr);
  stored.reset();  // as large as the model and its optimizer
  const bool done = trainer.run(stop);
  if (!done) {
    std::cerr << format("stopped; go on with: vitrine train --resume --out {}\n", flags.run.out);
    return kInterrupted;
  }
  if (flags.json) {
    Json document = trainer.metrics().back();
    if (trainer.pretrained()) document["finetune"] = report_json(*trainer.pretrained());
    print_json(document);
  } else {
    std::cout << format("done: {}/checkpoint.safetensors, best.safetensors, metrics.jsonl, curves.svg\n",
                        flags.run.out);
  }
  return kDone;
}

std::function<int()> setup(CLI::App& app) {
  const auto flags = std::make_shared<Flags>();
  flags->add_to(app);
  flags->given = add_train_flags(app, flags->config);
  app.add_option("--out", flags->run.out, "folder of the run")->required();
  app.add_flag("--resume", flags->run.resume, "go on with the run in --out, bit for bit");
  add_run_flags(app, flags->run);
  return [flags] { return train(*flags); };
}

const RegisterCommand command({"train", "Trains a classifier; a run that was killed goes on bit for bit", setup});

}  // namespace
}  // namespace vitrine::apps
