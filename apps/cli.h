#pragma once
#include <cstdint>
#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "core/device.h"
#include "core/dtype.h"
#include "core/error.h"
#include "core/text.h"

namespace CLI {
class App;
}

/// What the commands of the program `vitrine` share: registration, common flags, exit status, tables.
namespace vitrine::apps {

/// Exit status of the program, also of `main` for each kind of exception.
enum Exit : int {
  kDone = 0,
  kFailed = 1,         ///< the work ran and failed
  kUsage = 2,          ///< the request is wrong: flags, names, arguments that an op rejects
  kUnreadable = 3,     ///< a file that cannot be read, or does not hold what it must
  kInterrupted = 130,  ///< stopped by Ctrl-C, as shells say it
};

/// Wrong use of the program: ends it with kUsage.
struct UsageError : Error {
  using Error::Error;
};

/// A command of the program. `setup` adds its flags to `app` and returns what runs after parsing; that returns an Exit.
struct Command {
  const char* name;
  const char* description;
  std::function<int()> (*setup)(CLI::App& app);
};
/// A namespace-scope object that adds a command: a folder under apps/ needs no other edit.
struct RegisterCommand {
  explicit RegisterCommand(const Command& command);
};
/// By name.
std::vector<Command> commands();

/// Flags that every command takes.
struct CommonFlags {
  std::string device_text;
  int threads = 0;  ///< 0: as many as the machine gives
  uint64_t seed = 0;
  std::string precision = "f32";
  bool json = false;

  void add_to(CLI::App& app);
  /// Sets threads and seed for this thread. Call first in a command. @throws UsageError as device()
  void apply() const;
  /// The device asked for, else cuda if one is there, else cpu. @throws UsageError if this build or machine has none
  Device device() const;
  Dtype dtype() const;
};

/// `text` as a device of this build and machine. @throws UsageError naming the devices that can be used
Device usable_device(const std::string& text);

/// `text` with control characters, such as line breaks in the names of files, written as \n or \x1b.
std::string one_line(const std::string& text);

/// Makes a folder and those above it, unless it is there. @throws WriteError if it cannot be made
void make_folder(const std::string& folder);

/// Writes the document and a newline to stdout; texts that are not UTF-8 are repaired.
void print_json(const nlohmann::ordered_json& document);

/// Rows for people: columns as wide as their longest cell; columns of figures alone are aligned right.
class Table {
 public:
  explicit Table(std::vector<std::string> header) : rows_{std::move(header)} {}
  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  std::string text() const;
  std::string markdown() const;

 private:
  std::vector<size_t> widths() const;
  bool numeric(size_t column) const;
  std::vector<std::vector<std::string>> rows_;
};

/// `x` with `digits` significant digits: "1.23", "45.6", "789".
std::string significant(double x, int digits = 3);

/// "vitrine 0.1.0, commit 1a2b3c4"
std::string program_version();
/// The lines of `vitrine --version`.
std::string version_text();

}  // namespace vitrine::apps
