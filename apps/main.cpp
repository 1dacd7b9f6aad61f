#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <ios>
#include <iostream>
#include <new>

#include "apps/cli.h"
#include "core/files.h"

namespace vitrine::apps {
namespace {

/// The flags of `app`, for suggestions.
std::vector<std::string> flags_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

/// Extra arguments: unknown flags, with the nearest ones, or a positional too many.
void reject_extras(const std::string& command, const CLI::App& app) {
  if (app.remaining().empty()) return;
  const std::string word = app.remaining().front(), flag = word.substr(0, word.find('='));
  check<UsageError>(word[0] == '-', "{}: unexpected argument '{}'; see vitrine {} --help", command, word, command);
  throw UsageError(format("{}: unknown flag {}; did you mean {}? See vitrine {} --help", command, flag,
                          nearest(flag, flags_of(app)), command));
}

std::string help_text() {
  Table table({"command", "does"});
  for (const Command& c : commands()) table.add({c.name, c.description});
  return "Vitrine: a tensor engine for vision transformers, built to be read.\n\n"
         "vitrine COMMAND [flags]     vitrine COMMAND --help     vitrine --help     vitrine --version\n\n" +
         table.text();
}

/// The command's own parser, not a subcommand of a common one: a positional may then be called like another command
/// ("bench ops").
int run_command(const Command& command, int argc, char** argv) {
  const std::string name = command.name;
  CLI::App app(command.description, "vitrine " + name);
  app.allow_extras();  // rejected below, with the nearest flag
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);  // of a flag given twice
  const std::function<int()> action = command.setup(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    return kDone;
  } catch (const CLI::ParseError& e) {
    reject_extras(name, app);
    throw UsageError(format("{}: {}; see vitrine {} --help", name, e.what(), name));
  }
  reject_extras(name, app);
  return action();
}

int run(int argc, char** argv) {
  std::vector<std::string> names;
  std::string known;
  for (const Command& command : commands()) {
    names.push_back(command.name);
    known += (known.empty() ? "" : ", ") + names.back();
  }
  check<UsageError>(argc > 1, "which command? {}; see vitrine --help", known);
  const std::string first = argv[1];
  const bool help = first == "--help" || first == "-h";
  if (help || first == "--version") {
    if (argc > 2) throw UsageError(format("unexpected argument '{}'; {} stands alone", argv[2], first));
    std::cout << (help ? help_text() : version_text());
    return kDone;
  }
  for (const Command& command : commands())
    if (first == command.name) return run_command(command, argc - 1, argv + 1);
  const std::string what = first.starts_with("-") ? "flag" : "command";
  throw UsageError(format("unknown {} '{}'; did you mean {}? See vitrine --help", what, first,
                          first.starts_with("-") ? "--help, --version" : nearest(first, names)));
}

/// Starts the program anew with a bound on how long OpenMP's threads spin at a barrier, unless the user has set one.
/// GCC's library spins for milliseconds by default: as long as a time slice, so on a busy machine two threads mostly
/// wait for each other. It reads its settings when it is loaded, before main.
void bound_spinning(char** argv) {
  constexpr const char* kSpins = "10000";  // some 100 us: longer than most barriers of an idle machine take
  constexpr const char *kSetting = "GOMP_SPINCOUNT", *kOurs = "VITRINE_SPINS";
  if (std::getenv(kOurs)) {  // started anew: the library has read it, and other programs should not inherit it
    unsetenv(kSetting), unsetenv(kOurs);
    return;
  }
  if (std::getenv(kSetting) || std::getenv("OMP_WAIT_POLICY")) return;
  setenv(kSetting, kSpins, 1);
  setenv(kOurs, "1", 1);
  execv("/proc/self/exe", argv);  // if it fails, all is as it was, but slower on a busy machine
}

int report(const std::string& message, Exit status) {
  std::cout.exceptions(std::ios::goodbit);  // stderr flushes stdout first
  std::cerr << "vitrine: " << one_line(message) << std::endl;
  return status;
}

}  // namespace
}  // namespace vitrine::apps

int main(int argc, char** argv) {
  using namespace vitrine;
  apps::bound_spinning(argv);
  try {
    std::cout.exceptions(std::ios::badbit);  // an answer that cannot be written is lost
    const int status = apps::run(argc, argv);
    std::cout.flush();
    return status;
  } catch (const apps::UsageError& e) {
    return apps::report(e.what(), apps::kUsage);
  } catch (const ValueError& e) {
    return apps::report(e.what(), apps::kUsage);
  } catch (const WriteError& e) {
    return apps::report(e.what(), apps::kFailed);
  } catch (const IoError& e) {
    return apps::report(e.what(), apps::kUnreadable);
  } catch (const std::filesystem::filesystem_error& e) {
    return apps::report(format("{}: {}", e.path1().string(), e.code().message()), apps::kUnreadable);
  } catch (const std::ios_base::failure&) {
    return apps::report(format("cannot write to stdout: {}", std::strerror(errno)), apps::kFailed);
  } catch (const std::bad_alloc&) {
    return apps::report("out of memory", apps::kFailed);
  } catch (const std::exception& e) {
    return apps::report(e.what(), apps::kFailed);
  }
}
