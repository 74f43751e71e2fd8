// libvirt and GLib are built without the thread sanitizer: it does not see the locks (GLib's are
// bare futexes) by which they hand memory from thread to thread, nor that a callback runs after it
// was registered. What this project itself shares between threads is checked.
#if defined(__SANITIZE_THREAD__)
extern "C" const char* __tsan_default_suppressions();  // NOLINT: the sanitizer's name
extern "C" const char* __tsan_default_suppressions() {
  return "called_from_lib:libvirt.so.0\n"
         "called_from_lib:libglib-2.0.so.0\n"
         "race:Listener\n"
         "race:free_listener\n";
}
#endif
