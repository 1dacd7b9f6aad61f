#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "apps/classifier/weights.h"
#include "apps/train/trainer.h"
#include "core/files.h"

namespace vitrine::apps {
namespace {

using Json = nlohmann::ordered_json;

std::atomic<bool> stop_requested{false};

/// The first Ctrl-C asks the run to stop after its step, the second ends the program.
void on_interrupt(int) {
  if (stop_requested.exchange(true)) std::_Exit(kInterrupted);
}

struct Flags : CommonFlags {
  TrainConfig config;
  TrainRun run;
  std::function<std::vector<std::string>()> given;
};

/// Checks the flags given against the run that is resumed: what determines its result cannot change on the way.
TrainConfig resumed_config(const Flags& flags, const data::Safetensors& known, const std::string& file) {
  const Json training = metadata_json(known, file, kTrainingKey);
  check<IoError>(training.contains("config"), "{}: malformed state of training: no configuration", file);
  const TrainConfig stored = TrainConfig::from_json(training["config"], file);
  const Json before = stored.json(), now = flags.config.json();
  for (const std::string& key : flags.given()) {
    check<UsageError>(before[key] == now[key],
                      "train: {} has {} {}, not {}; leave the flag out, or choose another --out", file, flag_of(key),
                      before[key].dump(), now[key].dump());
  }
  return stored;
}

int train(Flags& flags) {
  flags.apply();
  flags.config.seed = flags.seed;
  flags.config.precision = flags.precision;
  flags.config.check_ranges();
  flags.run.device = flags.device();
  const std::string checkpoint = flags.run.out + "/checkpoint.safetensors";
  const bool exists = std::filesystem::exists(checkpoint);
  check<UsageError>(flags.run.resume || !exists,
                    "train: {} holds a run already; add --resume to go on with it, or "
                    "choose another --out",
                    flags.run.out);
  std::error_code error;
  std::filesystem::create_directories(flags.run.out, error);
  check<IoError>(!error, "{}: cannot be made: {}", flags.run.out, error.message());
  std::optional<data::Safetensors> known;
  TrainConfig config = flags.config;
  if (exists) {
    known = data::read_safetensors(checkpoint);
    config = resumed_config(flags, *known, checkpoint);
  } else if (flags.run.resume) {
    std::cerr << format("{}: nothing to resume; starting anew\n", flags.run.out);
  }
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  Trainer trainer(config, flags.run, known ? &*known : nullptr);
  known.reset();
  const bool done = trainer.run(stop_requested);
  if (!done) {
    std::cerr << format("stopped; go on with: vitrine train --resume --out {}\n", flags.run.out);
    return kInterrupted;
  }
  if (flags.json) {
    Json document = trainer.last_metrics();
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
  app.add_option("--workers", flags->run.workers, "threads that prepare batches")
      ->capture_default_str()
      ->check(CLI::Range(0, 64));
  app.add_option("--save-every", flags->run.save_every, "seconds between checkpoints within an epoch")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  return [flags] { return train(*flags); };
}

const RegisterCommand command({"train", "Trains a classifier; a run that was killed goes on bit for bit", setup});

}  // namespace
}  // namespace vitrine::apps
