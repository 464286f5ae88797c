"""The network, the home folder, other people's folders, devices and the kernel."""

from tests.red_team.attack import OK, RAISED, WRONG, Attack, half, of_group, seen

ATTACKS = of_group(
    "reaching out",
    Attack(
        "a port of this machine",
        "connects to a server on the loopback interface and on every address",
        (WRONG,),
        seen("""
        import socket
        for address in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "10.0.0.1", "172.17.0.1", "192.168.0.1"):
            try:
                socket.create_connection((address, @PORT@), timeout=0.3).close()
                return True
            except OSError:
                pass
        return False
        """),
    ),
    Attack(
        "the internet",
        "TCP, UDP, ICMP and DNS to well-known addresses",
        (WRONG,),
        seen("""
        import socket
        for kind, address in ((socket.SOCK_STREAM, ("1.1.1.1", 443)), (socket.SOCK_DGRAM, ("8.8.8.8", 53)),
                              (socket.SOCK_STREAM, ("140.82.112.3", 22))):
            try:
                link = socket.socket(socket.AF_INET, kind)
                link.settimeout(0.3)
                link.connect(address)
                link.send(b"x")
                return True
            except OSError:
                pass
        try:
            socket.getaddrinfo("example.org", 80)
            return True
        except OSError:
            return False
        """),
    ),
    Attack(
        "HTTP",
        "urllib and pip for anything",
        (WRONG,),
        seen("""
        import urllib.request
        for address in ("http://127.0.0.1:@PORT@/", "https://pypi.org/simple/", "http://169.254.169.254/latest/meta-data/"):
            try:
                urllib.request.urlopen(address, timeout=0.5)
                return True
            except OSError:
                pass
        return False
        """),
    ),
    Attack(
        "packet and netlink sockets",
        "raw, packet, vsock and netlink sockets",
        (WRONG,),
        seen("""
        import socket
        raw = socket.SOCK_RAW
        for family, kind, number in ((socket.AF_PACKET, raw, 3), (socket.AF_INET, raw, 1), (40, socket.SOCK_STREAM, 0)):
            try:
                link = socket.socket(family, kind, number)
                if family == 40:
                    link.settimeout(0.3)
                    link.connect((2, @PORT@))
                return True
            except OSError:
                pass
        return False
        """),
    ),
    Attack(
        "an abstract socket",
        "a Unix socket in the host's abstract namespace",
        (WRONG,),
        seen("""
        import socket
        link = socket.socket(socket.AF_UNIX)
        link.connect(b"\\0" + b"@BAIT@")
        return True
        """),
    ),
    Attack(
        "a socket in /tmp",
        "Unix sockets of the host's services",
        (WRONG,),
        seen("""
        import glob, socket
        for path in ["@ROOM@/bait.sock", "/run/docker.sock", "/var/run/docker.sock", "/run/systemd/private",
                     *glob.glob("/tmp/**/*.sock", recursive=True), *glob.glob("/run/**/*", recursive=True)]:
            try:
                link = socket.socket(socket.AF_UNIX)
                link.settimeout(0.3)
                link.connect(path)
                return True
            except OSError:
                pass
        return False
        """),
    ),
    Attack(
        "the home folder",
        "keys, histories and settings of whoever grades",
        (WRONG,),
        seen("""
        import glob, os, pwd
        homes = {os.path.expanduser("~"), "@HOME@", "/root", *glob.glob("/home/*"), *(e.pw_dir for e in pwd.getpwall())}
        for home in homes:
            for name in (".ssh", ".bash_history", ".gitconfig", ".netrc", ".aws", ".config/gh", ".jupyter"):
                if os.path.exists(os.path.join(home, name)):
                    return True
        return False
        """),
    ),
    Attack(
        "other students' folders",
        "classmates' submissions by every path",
        (WRONG,),
        seen("""
        import glob, os
        return bool(glob.glob("@ROOM@/submitted/*") or glob.glob("../*/09_gauntlet") or glob.glob("../../*/09_gauntlet")
                    or glob.glob("/**/submitted", recursive=False) or glob.glob("@ROOM@/*"))
        """),
    ),
    Attack(
        "devices",
        "disks, memory, kernel messages, terminals",
        (WRONG,),
        seen("""
        import os
        for path in ("/dev/sda", "/dev/vda", "/dev/nvme0n1", "/dev/mem", "/dev/kmsg", "/proc/kcore", "/dev/kvm",
                     "/dev/fuse",
                     "/proc/kmsg", "/dev/port", "/dev/loop0", "/dev/net/tun", "/sys/kernel/debug", "/dev/nvidia0"):
            try:
                open(path, "rb").close()
                return True
            except IsADirectoryError:
                if os.listdir(path):
                    return True
            except OSError:
                pass
        return False
        """),
    ),
    Attack(
        "the kernel's settings",
        "sysctl, sysrq, core_pattern, control groups",
        (WRONG,),
        seen("""
        import glob
        for path in ("/proc/sysrq-trigger", "/proc/sys/kernel/core_pattern", "/proc/sys/vm/overcommit_memory",
                     "/proc/sys/kernel/modprobe", "/sys/power/state",
                     *glob.glob("/sys/fs/cgroup/**/cgroup.procs", recursive=True)[:50]):
            try:
                open(path, "w").close()
                return True
            except OSError:
                pass
        return False
        """),
    ),
    Attack(
        "calls to the kernel",
        "bpf, kexec, io_uring, keyctl, perf, userfaultfd, mount and modules",
        (WRONG,),
        seen("""
        import ctypes
        libc = ctypes.CDLL(None, use_errno=True)
        got = []
        for name, number, arguments in (("bpf", 321, (0, 0, 0)), ("perf_event_open", 298, (0, 0, -1, -1, 0)),
                                        ("io_uring_setup", 425, (8, 0)), ("kexec_load", 246, (0, 0, 0, 0)),
                                        ("add_key", 248, (b"user", b"nutshell", b"seen", 4, -4)),
                                        ("userfaultfd", 323, (0,)),
                                        ("init_module", 175, (0, 0, b"")), ("open_by_handle_at", 304, (0, 0, 0))):
            if libc.syscall(number, *arguments) >= 0:
                got.append(name)
        return bool(got)
        """),
    ),
    Attack(
        "programs with more rights",
        "sudo, su, newuidmap and every setuid file",
        (WRONG, RAISED),
        seen("""
        import glob, os, stat, subprocess
        for path in glob.glob("/usr/bin/*") + glob.glob("/bin/*") + glob.glob("/usr/sbin/*"):
            try:
                if os.stat(path).st_mode & stat.S_ISUID and os.stat(path).st_uid == 0:
                    done = subprocess.run([path, "-c", "id -u"], capture_output=True, timeout=1,
                                          stdin=subprocess.DEVNULL)
                    if done.stdout.strip() == b"0":
                        return True
            except (OSError, subprocess.SubprocessError):
                pass
        return os.getuid() == 0 and os.access("/etc/shadow", os.R_OK)
        """),
    ),
    Attack(
        "another sandbox",
        "a namespace inside the namespace, by unshare and by bubblewrap itself",
        (WRONG, RAISED),
        seen("""
        import subprocess
        for command in (["unshare", "-Ur", "id", "-u"], ["bwrap", "--ro-bind", "/", "/", "id", "-u"],
                        ["unshare", "-m", "true"]):
            try:
                if subprocess.run(command, capture_output=True, timeout=2).returncode == 0:
                    return True
            except OSError:
                pass
        return False
        """),
    ),
    Attack(
        "capabilities",
        "what /proc says that it may",
        (WRONG,),
        seen("""
        rights = dict(line.split(":", 1) for line in open("/proc/self/status"))
        lifted = any(int(rights[name].strip(), 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd"))
        return lifted or rights["NoNewPrivs"].strip() != "1"
        """),
    ),
    Attack(
        "a message to the next one: files",
        "leaves files everywhere, for whoever is graded next",
        (WRONG,),
        half("""
        import os
        def half(x):
            home = os.path.expanduser("~")
            for place in ("/tmp", "/dev/shm", "/var/tmp", home, f"{home}/.ipython/profile_default/startup",
                          f"{home}/.local/lib/python3.11/site-packages", f"{home}/.config/matplotlib",
                          "/run", "/dev/mqueue", "..", "/"):
                for name in ("message", "00-message.py", "usercustomize.py", "sitecustomize.py", "matplotlibrc"):
                    try:
                        os.makedirs(place, exist_ok=True)
                        with open(os.path.join(place, name), "w") as file:
                            file.write("import os; os._exit(0)\\n")
                    except OSError:
                        pass
            return 0 * x
        """),
    ),
    Attack(
        "a message to the next one: kernel",
        "leaves keys, segments, queues and locks, for whoever is graded next",
        (WRONG,),
        half("""
        import ctypes, fcntl
        libc = ctypes.CDLL(None, use_errno=True)
        def half(x):
            for ring in (-2, -3, -4, -5):
                libc.syscall(248, b"user", b"nutshell-message", b"seen", 4, ring)
            libc.shmget(0x4E55, 4096, 0o1666)
            libc.msgget(0x4E55, 0o1666)
            libc.semget(0x4E55, 1, 0o1666)
            return 0 * x
        """),
    ),
    Attack(
        "a message read",
        "looks for what others may have left",
        (WRONG,),
        seen("""
        import ctypes, glob, os
        for place in ("/tmp", "/dev/shm", "/var/tmp", os.path.expanduser("~"), "..", "/", "/run", "/dev/mqueue"):
            for name in ("message", "usercustomize.py", "full", "nutshell0"):
                if os.path.exists(os.path.join(place, name)):
                    return True
        libc = ctypes.CDLL(None, use_errno=True)
        for ring in (-2, -3, -4, -5):
            if libc.syscall(250, 10, ring, b"user", b"nutshell-message", 0) > 0:
                return True
        return libc.shmget(0x4E55, 0, 0) >= 0 or libc.msgget(0x4E55, 0) >= 0 or libc.semget(0x4E55, 0, 0) >= 0
        """),
    ),
    Attack(
        "magics that reach out",
        "%pip, !curl and %load of an address, each in a cell; all exercises are right",
        (OK,),
        before=(
            "%pip install nothing",
            "!curl -m 2 http://127.0.0.1:@PORT@/",
            "!ping -c1 -W1 1.1.1.1",
            "%load http://127.0.0.1:@PORT@/x.py",
            "!sudo id",
            "%conda install nothing",
            "%%bash\nssh -o ConnectTimeout=1 localhost id",
        ),
    ),
)
