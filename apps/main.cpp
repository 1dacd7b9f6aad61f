#include <CLI/CLI.hpp>
#include <iostream>
#include <new>

#include "apps/cli.h"

namespace vitrine::apps {
namespace {

/// The flags of `app`, for suggestions.
std::vector<std::string> flags_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options())
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  return names;
}

/// What CLI11 calls extra arguments: unknown flags, with the nearest ones.
[[noreturn]] void reject_extras(const CLI::App& app) {
  const std::string command = app.get_name();
  const std::string word = app.remaining().empty() ? "" : app.remaining().front();
  const std::string flag = word.substr(0, word.find('='));
  if (!word.empty() && word[0] == '-')
    throw UsageError(format("{}: unknown flag {}; did you mean {}? See vitrine {} --help", command, flag,
                            nearest(flag, flags_of(app)), command));
  throw UsageError(format("{}: unexpected argument '{}'; see vitrine {} --help", command, word, command));
}

int run(int argc, char** argv) {
  CLI::App app("Vitrine: a tensor engine for vision transformers, built to be read.", "vitrine");
  app.set_version_flag("--version", version_text());
  app.require_subcommand(0, 1);  // one command a run: in `bench ops` the second word is an argument
  std::vector<std::string> names;
  std::vector<std::pair<CLI::App*, std::function<int()>>> actions;
  for (const Command& command : commands()) {
    CLI::App* sub = app.add_subcommand(command.name, command.description);
    sub->allow_extras();  // rejected below, with the nearest flag
    actions.emplace_back(sub, command.setup(*sub));
    names.push_back(command.name);
  }
  std::string known;
  for (const std::string& n : names) known += (known.empty() ? "" : ", ") + n;
  if (argc < 2) throw UsageError(format("which command? {}; see vitrine --help", known));
  const std::string first = argv[1];
  if (first[0] != '-' && std::find(names.begin(), names.end(), first) == names.end())
    throw UsageError(format("unknown command '{}'; did you mean {}? See vitrine --help", first, nearest(first, names)));
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    for (const auto& [sub, action] : actions)
      if (sub->parsed()) return std::cout << sub->help("vitrine"), kDone;
    return std::cout << app.help(), kDone;
  } catch (const CLI::CallForVersion&) {
    return std::cout << version_text(), kDone;
  } catch (const CLI::ParseError& e) {
    std::string command;
    for (const auto& [sub, action] : actions)
      if (sub->parsed()) command = sub->get_name();
    if (command.empty()) throw UsageError(format("{}; see vitrine --help", e.what()));
    throw UsageError(format("{}: {}; see vitrine {} --help", command, e.what(), command));
  }
  for (const auto& [sub, action] : actions) {
    if (!sub->parsed()) continue;
    if (!sub->remaining().empty()) reject_extras(*sub);
    return action();
  }
  throw UsageError(format("which command? {}; see vitrine --help", known));
}

int report(const std::string& message, Exit status) {
  std::cerr << "vitrine: " << message << std::endl;
  return status;
}

}  // namespace
}  // namespace vitrine::apps

int main(int argc, char** argv) {
  using namespace vitrine;
  try {
    return apps::run(argc, argv);
  } catch (const apps::UsageError& e) {
    return apps::report(e.what(), apps::kUsage);
  } catch (const IoError& e) {
    return apps::report(e.what(), apps::kUnreadable);
  } catch (const std::bad_alloc&) {
    return apps::report("out of memory", apps::kFailed);
  } catch (const std::exception& e) {
    return apps::report(e.what(), apps::kFailed);
  }
}
