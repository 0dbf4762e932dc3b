# long spawn(uint64_t *table)
#
# Makes a child that shares this process's memory and holds it up until it has become another program or has ended, as
# vfork(2) does, and in it makes the system calls that the table lists, in order. Returns what clone(2) did. Neither
# side uses the stack: it is the same one.
#
# table: two words for the child's report, then seven for each system call: its number, five arguments, and whether it
# may fail. The last is execve. When a call fails that may not, the report is its negative error number and the address
# of its words, and the child exits with 127.
#
# Assembled into spawning.py by: as, objcopy --output-target=binary --only-section=.text

        .text
spawn:  endbr64
        mov     %rdi, %r9               # system calls keep it
        mov     $0x4111, %edi           # CLONE_VM | CLONE_VFORK | SIGCHLD
        xor     %esi, %esi              # the same stack
        mov     $56, %eax               # clone
        syscall
        test    %rax, %rax
        jz      child
        ret

child:  lea     16(%r9), %rbx
next:   mov     (%rbx), %rax
        mov     8(%rbx), %rdi
        mov     16(%rbx), %rsi
        mov     24(%rbx), %rdx
        mov     32(%rbx), %r10
        mov     40(%rbx), %r8
        syscall
        cmp     $-4095, %rax            # errors are -4095 to -1
        jae     failed
passed: add     $56, %rbx
        jmp     next

failed: cmpq    $0, 48(%rbx)
        jne     passed
        mov     %rax, (%r9)
        mov     %rbx, 8(%r9)
        mov     $127, %edi
        mov     $231, %eax              # exit_group
        syscall
        hlt
